"""Stage pair: from all detections of a capture to identities, crops, and scored pairs of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.ids import content_id
from catalog.parts import Row, to_arrow
from catalog.query import evaluate
from catalog.scores import expression_of
from mining.config import MiningConfig
from mining.geometry.cameras import Camera
from mining.identity.identify import Person, identify
from mining.identity.joints import joints_at
from mining.identity.present import Present
from mining.pairing.candidates import Candidate, choose_candidates
from mining.pairing.crop_facts import crop_facts, others_at
from mining.pairing.redundancy import RepeatedPairs, find_looks, find_near_duplicates
from mining.pairing.score import CropFacts, ScoreConfig, pair_terms, reject_reason
from mining.stage import Outcome, Tally, WorkUnit

VERSION = 5  # raise it when the rows of this stage change for the same input
COPIED = (
    "detection_id", "capture_id", "view_id", "segment", "frame_index", "time_s", "part", "box_px",
    "keypoints_px", "detector_score", "sharpness", "truncation", "occlusion", "appearance",
    "foreground", "file", "offset", "length", "phash",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CaptureRows:
    """The capture whose pairs are sought: its row, the rows of its views, and the size of its
    crops.
    """

    capture: Row
    views: tuple[Row, ...]
    crop_size_px: int


def pair_capture(unit: WorkUnit, detections: Sequence[Row], config: MiningConfig) -> Outcome:
    """Find the people among a capture's `detections` and pair their crops; `payload` is
    CaptureRows.

    Gives rows of `tracks`, `crops`, `pairs` and `rejected_pairs`.
    """
    rows: CaptureRows = unit.payload
    outcome = Outcome()
    people_tally = Tally(outcome, unit, "identify", "people")
    crop_tally = Tally(outcome, unit, "crop", "crops")
    pair_tally = Tally(outcome, unit, "pair", "pairs")
    views = [view["view_id"] for view in rows.views]
    # without a common clock, what two cameras see is not of one instant
    on_clock = [
        rows.capture["sync"] != "none" and view["offset_s"] is not None for view in rows.views
    ]
    cameras = [
        camera_of(view) if there else None for view, there in zip(rows.views, on_clock, strict=True)
    ]
    detections = sorted(
        detections,
        key=lambda row: (row["time_s"], row["view_id"], row["frame_index"], row["detection_id"]),
    )
    max_sync_error_s = config.sync.max_sync_error_s
    found = identify(
        unit.name.scope, detections, cameras, views, config.track, config.associate,
        max_sync_error_s=max_sync_error_s, synchronized=len(views) > 1 and all(on_clock),
    )  # fmt: skip
    people_tally.take(len(detections))
    for i, (reason, detail) in sorted(found.rejects.items()):
        detection_id = detections[i]["detection_id"]
        people_tally.reject(detection_id, reason, detail, detection_id=detection_id)
    people_tally.keep(sum(len(person.detections) for person in found.people))
    outcome.rows["tracks"] += found.track_rows
    bodies = Present([person.geometry for person in found.people if person.part == "body"])
    for person in found.people:
        crops = _crop_rows(person, detections, found.track_of, rows, config, crop_tally)
        outcome.rows["crops"] += crops
        times_s = np.array([row["time_s"] for row in crops], dtype=np.float64)
        joints_world = joints_at(person.geometry, times_s, max_sync_error_s)
        others = others_at(person.geometry, bodies, times_s, max_sync_error_s)
        facts = crop_facts(crops, views, cameras, joints_world, others)
        for pair, problem in _pairs(crops, facts, on_clock, person, rows.capture, config):
            pair_tally.take(1)
            if problem is None:
                pair_tally.keep()
                outcome.rows["pairs"].append(pair)
                continue
            reason, detail = problem
            pair_tally.reject(pair["pair_id"], reason, detail)
            outcome.rows["rejected_pairs"].append({**pair, "reason": reason, "detail": detail})
    expression = expression_of(config.score.expression)
    scores = evaluate(expression, to_arrow("pairs", outcome.rows["pairs"]))
    for pair, score in zip(outcome.rows["pairs"], scores, strict=True):
        pair["score"] = score
    for tally in (people_tally, crop_tally, pair_tally):
        tally.close()
    return outcome


def camera_of(view: Row) -> Camera | None:
    """The camera of a row of `views`; None without calibration."""
    if view["intrinsics"] is None:
        return None
    return Camera(
        intrinsics=np.reshape(view["intrinsics"], (3, 3)),
        world_from_cam=np.reshape(view["world_from_cam"], (4, 4)),
        distortion=np.array(view["distortion"]),
        size_px=(view["width_px"], view["height_px"]),
    )


def _crop_rows(
    person: Person,
    detections: Sequence[Row],
    track_of: dict[int, str],
    rows: CaptureRows,
    config: MiningConfig,
    tally: Tally,
) -> list[Row]:
    """The rows of `crops` of one person, without near-duplicates."""
    mine = [detections[i] for i in person.detections]
    duplicates = find_near_duplicates(
        mine, config.redundancy, max_sync_error_s=config.sync.max_sync_error_s,
        min_confidence=config.score.min_keypoint_confidence,
        min_joints=config.score.min_common_keypoints,
    )  # fmt: skip
    tally.take(len(mine))
    crops = []
    for k, (i, detection) in enumerate(zip(person.detections, mine, strict=True)):
        crop_id = content_id(detection["detection_id"], detection["part"])
        if k in duplicates:
            tally.reject(crop_id, *duplicates[k], detection_id=detection["detection_id"])
            continue
        tally.keep()
        crops.append({
            **{column: detection[column] for column in COPIED},
            "crop_id": crop_id,
            "dataset": rows.capture["dataset"],
            "track_id": track_of[i],
            "identity_id": person.identity_id,
            "size_px": rows.crop_size_px,
        })  # fmt: skip
    return crops


def _pairs(
    crops: Sequence[Row],
    facts: Sequence[CropFacts],
    on_clock: Sequence[bool],
    person: Person,
    capture: Row,
    config: MiningConfig,
) -> Iterator[tuple[Row, tuple[str, str] | None]]:
    """Score the candidates among one person's crops; yield each as a row, still without score, and
    why it is rejected. `on_clock` tells of each view whether it keeps the capture's time.
    """
    if not crops:
        return
    candidates = choose_candidates(
        np.array([fact.time_s for fact in facts]), np.array([fact.view for fact in facts]),
        [fact.crop_id for fact in facts], config.candidates,
        to_camera=np.stack([fact.to_camera_world for fact in facts]),
        keypoints_px=np.stack([fact.keypoints_px for fact in facts]),
        synchronized=all(on_clock[fact.view] for fact in facts),
        max_sync_error_s=config.sync.max_sync_error_s,
        min_confidence=config.score.min_keypoint_confidence,
        min_joints=config.score.min_common_keypoints,
    )  # fmt: skip
    looks = find_looks(
        crops, config.redundancy, min_confidence=config.score.min_keypoint_confidence,
        min_joints=config.score.min_common_keypoints,
    )  # fmt: skip
    repeated = RepeatedPairs(looks)
    for candidate in candidates:
        row = {
            **_pair_row(candidate, facts, capture, config.score),
            "identity_id": person.identity_id,
            "part": person.part,
        }
        problem = reject_reason(row, config.score)
        yield row, problem or repeated.check(*candidate, row["pair_id"])


def _pair_row(
    candidate: Candidate, facts: Sequence[CropFacts], capture: Row, config: ScoreConfig
) -> Row:
    kind, a, b = candidate
    crop_a, crop_b = facts[a], facts[b]
    return {
        **pair_terms(kind, crop_a, crop_b, config),
        "pair_id": content_id(kind, crop_a.crop_id, crop_b.crop_id),
        "dataset": capture["dataset"],
        "capture_id": capture["capture_id"],
        "crop_a": crop_a.crop_id,
        "crop_b": crop_b.crop_id,
        "split": capture["split"],
    }
