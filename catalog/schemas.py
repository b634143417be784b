"""The catalog's tables: what one row is, and every column with its type, unit and meaning.

docs/tables.md is made from this file (`python -m catalog tables --format markdown`); a test holds
the two together.
"""

from dataclasses import dataclass

import pyarrow as pa

from catalog.reasons import REASONS

TEXT, INT, REAL, BYTES = pa.string(), pa.int64(), pa.float64(), pa.binary()
REALS = pa.list_(pa.float32())
MATRIX = pa.list_(pa.float64())
YES_NO = pa.bool_()


@dataclass(frozen=True)
class Column:
    """One column: its name (with unit), Arrow type and meaning."""

    name: str
    type: pa.DataType
    meaning: str


@dataclass(frozen=True)
class Table:
    """One table: what a row is, and its columns in order."""

    name: str
    row: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """The table's Arrow schema; every part is written with it."""
        return pa.schema([pa.field(column.name, column.type) for column in self.columns])


# fmt: off
CAPTURES = Table("captures", "a capture: one recording of people, by one or more cameras", (
    Column("capture_id", TEXT, "id, from the dataset, the name and the fingerprints of its views"),
    Column("dataset", TEXT, "name of the dataset it belongs to"),
    Column("name", TEXT, "its name, unique within the dataset"),
    Column("uri", TEXT, "where it lies"),
    Column("num_views", INT, "views that could be read"),
    Column("duration_s", REAL, "from the first frame of any view to the end of the last"),
    Column("sync", TEXT, "`given`: its views share one clock; `estimated`: their offsets were "
           "found from motion; `none`: they do not belong together in time"),
    Column("subject", TEXT, "the person, where the source names one; else null"),
    Column("split", TEXT,
           "`train` or `val`: given by the source, else by hash of the subject or the name"),
    Column("licence", TEXT, "licence of the footage, where the source knows it"),
))

VIEWS = Table("views", "a view: one camera's images within a capture", (
    Column("view_id", TEXT, "id, from capture and name"),
    Column("capture_id", TEXT, "its capture"),
    Column("name", TEXT, "its name, unique within the capture"),
    Column("uri", TEXT, "file, folder or generator that its frames come from"),
    Column("reader", TEXT, "which reader reads it: `video`, `images`, `synthetic`, `annotated`"),
    Column("width_px", INT, "frame width"),
    Column("height_px", INT, "frame height"),
    Column("fps", REAL, "frames per second"),
    Column("num_frames", INT, "frames that the container declares"),
    Column("offset_s", REAL,
           "time of its first frame on the capture's clock; null where it was sought in vain"),
    Column("offset_error_s", REAL, "two standard errors of an estimated offset; else null"),
    Column("intrinsics", MATRIX, "3x3 in pixels, row by row; null without calibration"),
    Column("distortion", MATRIX, "OpenCV's k1, k2, p1, p2, k3; null without calibration"),
    Column("world_from_cam", MATRIX,
           "4x4, row by row, in metres: camera (x right, y down, z ahead) to world"),
    Column("calibration", TEXT, "`given`, `estimated` (from people's keypoints: the scale is a "
           "guess, made from people's usual size) or `none`"),
    Column("calibration_error_px", REAL,
           "median reprojection error of an estimated camera; else null"),
))

DETECTIONS = Table("detections", "a person, or a hand, found in one frame, good enough to crop", (
    Column("detection_id", TEXT, "id, from view, frame and rank within the frame"),
    Column("capture_id", TEXT, "its capture"),
    Column("view_id", TEXT, "its view"),
    Column("segment", INT, "index of the time window it was mined in"),
    Column("frame_index", INT, "frame of the view, from 0"),
    Column("time_s", REAL, "time on the capture's clock"),
    Column("num_people", INT, "bodies found in its frame, those not good enough to crop too"),
    Column("part", TEXT, "`body`, `left_hand` or `right_hand`"),
    Column("body_detection_id", TEXT,
           "the detection of a hand's person; null for bodies, and where only the hand was seen"),
    Column("source", TEXT, "`detected`, or `given` by the source's annotations"),
    Column("given_identity", TEXT, "the person, where annotations name one; else null"),
    Column("person_box_px", REALS, "the person or hand: x0, y0, x1, y1 in frame pixels"),
    Column("box_px", REALS,
           "the square crop: x0, y0, x1, y1 in frame pixels; may reach past the frame"),
    Column("keypoints_px", REALS,
           "17 x (x, y, confidence) in frame pixels, COCO order; of a hand 21: wrist, then thumb "
           "to little finger, each from base to tip; confidence 0: not seen"),
    Column("joints_world", MATRIX,
           "(x, y, z) of each keypoint in metres, its truth in space; null unless annotated"),
    Column("detector_score", REAL, "the detector's confidence, 0 to 1"),
    Column("sharpness", REAL,
           "variance of the Laplacian of the grey crop at 128 px, where it shows the person"),
    Column("truncation", REAL, "share (0-1) of the person or hand that lies outside the frame"),
    Column("occlusion", REAL, "share (0-1) of what lies inside that other people or things hide"),
    Column("appearance", REALS, "colours of the foreground, to tell people apart"),
    Column("phash", TEXT, "64-bit perceptual hash of the crop, hex"),
    Column("foreground", BYTES,
           "32x32 bytes, row by row: share (0-255) of each cell of the crop that is the person"),
    Column("foreground_source", TEXT,
           "`mask` (given pixels), `model` (segmented) or `skeleton` (capsules around the "
           "keypoints)"),
    Column("file", TEXT, "tar with the crop's JPEG, relative to the root"),
    Column("offset", INT, "first byte of the JPEG in that file"),
    Column("length", INT, "bytes of the JPEG"),
))

TRACKS = Table("tracks", "a track: one person's detections in one view (one hand's, where only "
               "hands are seen), joined over time", (
    Column("track_id", TEXT, "id, from its first detection"),
    Column("capture_id", TEXT, "its capture"),
    Column("view_id", TEXT, "its view"),
    Column("identity_id", TEXT, "the person it belongs to; rejected tracks have no row"),
    Column("part", TEXT, "`body`; `left_hand` or `right_hand` where only hands are seen"),
    Column("start_s", REAL, "time of its first detection"),
    Column("end_s", REAL, "time of its last detection"),
    Column("num_detections", INT, "detections in it"),
    Column("reprojection_error_px", REAL,
           "median over its identity's triangulated joints; null in a single view"),
    Column("identity_source", TEXT,
           "`given`, `geometry` (joined across views), `only_person` (no cameras, but nobody else "
           "is seen in any view) or `single_view`"),
))

CROPS = Table("crops", "a crop: one square image of one identity's part in one view at one time", (
    Column("crop_id", TEXT, "id, from detection and part"),
    Column("detection_id", TEXT, "the detection it was cut from"),
    Column("dataset", TEXT, "its dataset"),
    Column("capture_id", TEXT, "its capture"),
    Column("view_id", TEXT, "its view"),
    Column("segment", INT, "index of the time window it was mined in"),
    Column("frame_index", INT, "frame of the view, from 0"),
    Column("time_s", REAL, "time on the capture's clock"),
    Column("track_id", TEXT, "its track"),
    Column("identity_id", TEXT, "the person, one in all views of the capture"),
    Column("part", TEXT, "`body`, `left_hand` or `right_hand`"),
    Column("box_px", REALS, "the square: x0, y0, x1, y1 in frame pixels; may reach past the frame"),
    Column("size_px", INT, "side of the stored image"),
    Column("keypoints_px", REALS,
           "17 x (x, y, confidence) in frame pixels, COCO order; of a hand 21: wrist, then thumb "
           "to little finger, each from base to tip; confidence 0: not seen"),
    Column("detector_score", REAL, "the detector's confidence, 0 to 1"),
    Column("sharpness", REAL,
           "variance of the Laplacian of the grey crop at 128 px, where it shows the person"),
    Column("truncation", REAL, "share (0-1) of the person or hand that lies outside the frame"),
    Column("occlusion", REAL, "share (0-1) of what lies inside that other people or things hide"),
    Column("appearance", REALS, "colours of the foreground, to tell people apart"),
    Column("foreground", BYTES,
           "32x32 bytes, row by row: share (0-255) of each cell that is the person"),
    Column("file", TEXT, "tar with its JPEG, relative to the root"),
    Column("offset", INT, "first byte of the JPEG in that file"),
    Column("length", INT, "bytes of the JPEG"),
    Column("phash", TEXT, "64-bit perceptual hash, hex"),
))

# What a candidate pair is and every term of its score: the columns of a kept and of a rejected one.
PAIR_TERMS = (
    Column("pair_id", TEXT, "id, from kind and both crops"),
    Column("kind", TEXT,
           "`cross_view` (same instant, another camera) or `cross_pose` (another moment)"),
    Column("part", TEXT, "`body`, `left_hand` or `right_hand`"),
    Column("dataset", TEXT, "its dataset"),
    Column("capture_id", TEXT, "its capture"),
    Column("identity_id", TEXT, "the person in both crops"),
    Column("crop_a", TEXT, "first crop: the one that is masked"),
    Column("crop_b", TEXT, "second crop: the one that helps"),
    Column("view_angle_deg", REAL,
           "angle between the two views as seen from the body or hand; null when unknown"),
    Column("covisibility", REAL, "estimated share (0-1) of the visible surface that both see"),
    Column("time_gap_s", REAL, "time of b minus time of a, absolute"),
    Column("pose_distance", REAL,
           "keypoint distance after a similarity fit, as a share of the pose's size; "
           "null for cross-view pairs, whose pose is the same"),
    Column("scale_ratio", REAL, "smaller over larger side of the two crop boxes in frame pixels"),
    Column("sharpness_min", REAL, "sharpness of the less sharp crop"),
    Column("truncation_max", REAL, "truncation of the more truncated crop"),
    Column("occlusion_max", REAL, "occlusion of the more occluded crop"),
    Column("keypoint_confidence_min", REAL, "mean keypoint confidence of the less confident crop"),
    Column("appearance_similarity", REAL,
           "how alike (0-1) the colours of the two foregrounds are"),
    Column("phash_distance", INT, "differing bits of the two perceptual hashes, 0 to 64"),
    Column("split", TEXT, "`train` or `val`, its capture's"),
)

PAIRS = Table("pairs", "a candidate pair that was scored and kept", (
    *PAIR_TERMS,
    Column("score", REAL, "the score expression's value; higher is better, 0 is useless"),
))

REJECTED_PAIRS = Table("rejected_pairs", "a candidate pair that a bound rejected, with its terms", (
    *PAIR_TERMS,
    Column("reason", TEXT, "one word for why: `python -m catalog tables reasons`"),
    Column("detail", TEXT, "the figure that decided"),
))

LABELS = Table("labels", "a labelled sample: one image of a person or hand, or two views of an "
               "instant, with what is known of it", (
    Column("label_id", TEXT, "id, from the dataset, what it was labelled in, and its name there"),
    Column("dataset", TEXT, "its dataset"),
    Column("capture_id", TEXT, "id of the work unit it was labelled in"),
    Column("capture", TEXT, "name of that: a capture, or a batch of a dataset's images"),
    Column("kind", TEXT, "`single`, or `two_view`: two images of the same instant"),
    Column("part", TEXT, "`body`, `left_hand` or `right_hand`"),
    Column("split", TEXT, "`train` or `val`: given by the source, else by hash of the subject"),
    Column("subject", TEXT, "the person, where the source names one; else null"),
    Column("gesture", TEXT, "class of a hand's gesture; null: unknown"),
    Column("licence", TEXT, "licence of the images, where the source knows it"),
    Column("source_a", TEXT, "file or generator, and frame, that the first image was cut from"),
    Column("source_b", TEXT, "the same of the second; null for `single`"),
    Column("frame_a", INT, "frame of a video or capture, from 0; null for a photograph"),
    Column("frame_b", INT, "the same of the second image"),
    Column("view_angle_deg", REAL,
           "angle between two views as seen from the body or hand; null: unknown, or `single`"),
    Column("person_px", REAL, "longer side of the person or hand in its full image, the smaller "
           "of two"),
    Column("num_keypoints", INT, "keypoints with a confidence above 0, the fewer of two images"),
    Column("has_joints", YES_NO, "whether the keypoints' places in the camera's frame are known"),
    Column("has_camera", YES_NO, "whether what projects to the stored image is known"),
    Column("body_model", TEXT, "`anny`, `anny_hand`, `smpl`, `smplx` or `mano`, whose pose and "
           "shape are known; null: none"),
    Column("dense", TEXT, "`map` (every pixel), `points`, or null: no dense labels"),
    Column("dense_chart", TEXT, "`densepose` or `anny`, whose parts, u and v these are"),
    Column("size_px", INT, "side of the stored images"),
    Column("label", TEXT, "all labels, JSON as `shards/labels.py` describes it"),
    Column("file", TEXT, "tar with its images, relative to the root"),
    Column("offset_a", INT, "first byte of the first JPEG in that file"),
    Column("length_a", INT, "bytes of the first JPEG"),
    Column("offset_b", INT, "first byte of the second JPEG; null for `single`"),
    Column("length_b", INT, "bytes of the second JPEG"),
    Column("iuv_offset_a", INT, "first byte of the first dense map (PNG); null: none"),
    Column("iuv_length_a", INT, "bytes of the first dense map"),
    Column("iuv_offset_b", INT, "first byte of the second dense map; null: none"),
    Column("iuv_length_b", INT, "bytes of the second dense map"),
))

REJECTS = Table("rejects", "something dropped on purpose", (
    Column("stage", TEXT, "stage that dropped it"),
    Column("unit", TEXT, "work unit it was dropped in"),
    Column("id", TEXT, "what was dropped: capture, detection, crop, pair or label"),
    Column("reason", TEXT, "one word for why: `python -m catalog tables reasons`"),
    Column("detail", TEXT, "the figure that decided"),
    Column("detection_id", TEXT, "the detection whose crop shows it; null where none was cut"),
))

FAILURES = Table("failures", "something that broke", (
    Column("stage", TEXT, "stage that it broke in"),
    Column("unit", TEXT, "work unit it broke in"),
    Column("id", TEXT, "view, file or frame range that was lost"),
    Column("error", TEXT, "one sentence: what was wrong"),
    Column("attempt", INT, "attempts made"),
    Column("num_lost", INT, "things lost, counted as the stage counts"),
    Column("traceback", TEXT, "where in the code it broke; null when the input was at fault"),
))

UNITS = Table("units", "one stage of one finished work unit: the mark that it is done", (
    Column("stage", TEXT,
           "`list`, `probe`, `calibrate`, `sync`, `decode`, `detect`, `identify`, `crop`, "
           "`pair`, `label`, `shards`"),
    Column("unit", TEXT, "work unit: dataset, capture, or capture and segment"),
    Column("key", TEXT, "hash of everything that went in; a changed key is mined again"),
    Column("capture_id", TEXT, "its capture; null for a dataset's listing"),
    Column("dataset", TEXT, "its dataset"),
    Column("counted", TEXT,
           "what is counted: captures, views, frames, people, crops, pairs or samples"),
    Column("num_in", INT, "how many went in: kept + rejected + failed"),
    Column("num_kept", INT, "how many went on"),
    Column("num_rejected", INT, "how many were dropped on purpose, each a row of `rejects`"),
    Column("num_failed", INT, "how many were lost, each part of a row of `failures`"),
))

RUNS = Table("runs", "one stage of one run (the only table that knows the clock)", (
    Column("run_id", TEXT, "id of the run"),
    Column("stage", TEXT, "`probe`, `segment`, `pair`, `label`, `rescore` or `shards`"),
    Column("dataset", TEXT, "dataset that was mined"),
    Column("config", TEXT, "resolved config, JSON"),
    Column("config_hash", TEXT, "its hash"),
    Column("versions", TEXT, "versions of Python and of the main packages, JSON"),
    Column("started", pa.timestamp("ms", tz="UTC"), "when it began"),
    Column("wall_s", REAL, "how long it took"),
    Column("worker_seconds", TEXT, "seconds summed over workers by what they were spent on, JSON"),
    Column("num_units", INT, "units it finished"),
    Column("num_frames", INT, "frames it decoded"),
    Column("num_skipped", INT, "units that were done before"),
    Column("num_failed", INT, "units with failures"),
))

SHARD_SETS = Table("shard_sets", "a shard set: the tars of one build", (
    Column("shard_set", TEXT, "id, from the plan and the bytes"),
    Column("url", TEXT, "folder with the tars and index.json"),
    Column("query", TEXT, "SQL condition that picked the samples"),
    Column("seed", INT, "seed of the sample order"),
    Column("config", TEXT, "caps, sizes and other settings, JSON"),
    Column("num_pairs", INT, "pairs, or labelled samples, written"),
))

SHARDS = Table("shards", "a shard: one tar", (
    Column("shard_set", TEXT, "its shard set"),
    Column("name", TEXT, "file name"),
    Column("split", TEXT, "`train` or `val`"),
    Column("samples", INT, "samples in it"),
    Column("bytes", INT, "its size"),
    Column("sha256", TEXT, "its content"),
))

SAMPLES = Table("samples", "a sample: one pair, or one labelled sample, in one shard", (
    Column("shard_set", TEXT, "its shard set"),
    Column("shard", TEXT, "file name of the shard"),
    Column("position", INT, "place in the shard, from 0"),
    Column("pair_id", TEXT, "the pair; null in a shard set of labels"),
    Column("label_id", TEXT, "the labelled sample; null in a shard set of pairs"),
))

# fmt: on

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        CAPTURES,
        VIEWS,
        DETECTIONS,
        TRACKS,
        CROPS,
        PAIRS,
        REJECTED_PAIRS,
        LABELS,
        REJECTS,
        FAILURES,
        UNITS,
        RUNS,
        SHARD_SETS,
        SHARDS,
        SAMPLES,
    )
}


def reference_markdown() -> str:
    """The page docs/tables.md: one section for each table, one row for each column, and the reasons
    to reject.
    """
    lines = [
        "# The tables of the catalog",
        "",
        "Made from `catalog/schemas.py` and `catalog/reasons.py` by "
        "`python -m catalog tables --format markdown`; a test holds them together.",
        "",
    ]
    for table in TABLES.values():
        lines += [f"## {table.name}", "", f"One row is {table.row}.", ""]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        lines += [f"| {c.name} | {c.type} | {c.meaning} |" for c in table.columns]
        lines.append("")
    lines += [
        "## Reasons",
        "",
        "What a stage drops on purpose has one of these words in `rejects.reason`, or one of the "
        "package that brought the source or detector. The settings are those of "
        "`mining run --set`, and for the stage `shards` those of `shards build --set`; where there "
        "is none, the choice is not the user's.",
        "",
        "| stage | reason | dropped because | settings |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {r.stage} | {r.word} | {r.meaning} | {', '.join(f'`{name}`' for name in r.settings)} |"
        for r in REASONS
    ]
    return "\n".join(lines)
