"""Stage pair: from all detections of a capture to identities, crops, and scored pairs of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.ids import content_id
from catalog.parts import Row, to_arrow
from catalog.query import evaluate
from mining.candidates import Candidate, choose_candidates
from mining.config import MiningConfig
from mining.geometry.associate import Identity
from mining.geometry.cameras import Camera, angle_between_views_deg
from mining.identify import Person, identify, keypoints_of
from mining.redundancy import RedundancyConfig, find_near_duplicates
from mining.score import CropFacts, ScoreConfig, pair_terms, reject_reason
from mining.stage import Outcome, Tally, WorkUnit

VERSION = 1  # raise it when the rows of this stage change for the same input
PART = "body"
COPIED = (
    "detection_id", "capture_id", "view_id", "segment", "frame_index", "time_s", "box_px",
    "keypoints_px", "detector_score", "sharpness", "foreground", "file", "offset", "length",
    "phash",
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

    Gives rows of `tracks`, `crops` and `pairs`.
    """
    rows: CaptureRows = unit.payload
    outcome = Outcome()
    people_tally = Tally(outcome, unit, "identify", "people")
    crop_tally = Tally(outcome, unit, "crop", "crops")
    pair_tally = Tally(outcome, unit, "pair", "pairs")
    views = [view["view_id"] for view in rows.views]
    # without a common clock, what two cameras see is not of one instant
    is_synchronized = rows.capture["sync"] == "given"
    cameras = [camera_of(view) if is_synchronized else None for view in rows.views]
    detections = sorted(
        detections,
        key=lambda row: (row["time_s"], row["view_id"], row["frame_index"], row["detection_id"]),
    )
    found = identify(unit.name.scope, detections, cameras, views, config.track, config.associate)
    people_tally.take(len(detections))
    for i, (reason, detail) in sorted(found.rejects.items()):
        people_tally.reject(detections[i]["detection_id"], reason, detail)
    people_tally.keep(sum(len(person.detections) for person in found.people))
    outcome.rows["tracks"] += found.track_rows
    for person in found.people:
        crops = _crop_rows(person, detections, found.track_of, rows, config.redundancy, crop_tally)
        outcome.rows["crops"] += crops
        facts = _Facts(crops, views, cameras, person.geometry)
        for pair in _pairs(facts, rows.capture, config, pair_tally):
            outcome.rows["pairs"].append({**pair, "identity_id": person.identity_id})
    scores = evaluate(config.score.expression, to_arrow("pairs", outcome.rows["pairs"]))
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
    )


def _crop_rows(
    person: Person,
    detections: Sequence[Row],
    track_of: dict[int, str],
    rows: CaptureRows,
    config: RedundancyConfig,
    tally: Tally,
) -> list[Row]:
    """The rows of `crops` of one person, without near-duplicates."""
    mine = [detections[i] for i in person.detections]
    duplicates = find_near_duplicates(mine, config)
    tally.take(len(mine))
    crops = []
    for k, (i, detection) in enumerate(zip(person.detections, mine, strict=True)):
        crop_id = content_id(detection["detection_id"], PART)
        if k in duplicates:
            tally.reject(crop_id, *duplicates[k])
            continue
        tally.keep()
        crops.append({
            **{column: detection[column] for column in COPIED},
            "crop_id": crop_id,
            "dataset": rows.capture["dataset"],
            "track_id": track_of[i],
            "identity_id": person.identity_id,
            "part": PART,
            "size_px": rows.crop_size_px,
        })  # fmt: skip
    return crops


class _Facts:
    """The crops of one person with what pairs need of them: views, cameras, and 3D joints at each
    crop's instant.
    """

    def __init__(
        self,
        crops: Sequence[Row],
        views: Sequence[str],
        cameras: Sequence[Camera | None],
        geometry: Identity,
    ) -> None:
        self.rows = crops
        places = {view_id: place for place, view_id in enumerate(views)}
        self.views = np.array([places[row["view_id"]] for row in crops], dtype=np.int64)
        self.times_s = np.array([row["time_s"] for row in crops], dtype=np.float64)
        self.cameras = cameras
        keypoints = keypoints_of(crops)
        self.crops = [
            CropFacts(
                crop_id=row["crop_id"], view=int(view), time_s=row["time_s"],
                keypoints_px=keypoints[i], box_px=np.array(row["box_px"]),
                sharpness=row["sharpness"], phash=row["phash"],
            )
            for i, (row, view) in enumerate(zip(crops, self.views, strict=True))
        ]  # fmt: skip
        last = np.searchsorted(geometry.times_s, self.times_s + 1e-9, side="right") - 1
        self.joints_world = geometry.joints_world[np.maximum(last, 0)]

    def usual_angles_deg(self) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
        """Angle between every two views at the person's mean place (V, V), NaN where unknown."""
        middle = (
            np.nanmean(self.joints_world.reshape(-1, 3), axis=0)
            if np.isfinite(self.joints_world).any()
            else None
        )
        angles = np.full((len(self.cameras), len(self.cameras)), np.nan)
        if middle is not None:
            for a, camera_a in enumerate(self.cameras):
                for b, camera_b in enumerate(self.cameras):
                    if camera_a is not None and camera_b is not None:
                        angles[a, b] = angle_between_views_deg(camera_a, camera_b, middle)
        return angles


def _pairs(facts: _Facts, capture: Row, config: MiningConfig, tally: Tally) -> Iterator[Row]:
    """Score the candidates among one person's crops; yield rows of `pairs`, still without score."""
    candidates = choose_candidates(
        facts.times_s, facts.views, [row["crop_id"] for row in facts.rows], config.candidates,
        view_angles_deg=facts.usual_angles_deg(), synchronized=capture["sync"] == "given",
    )  # fmt: skip
    tally.take(len(candidates))
    for candidate in candidates:
        row = _pair_row(candidate, facts, capture, config.score)
        if problem := reject_reason(row, config.score):
            tally.reject(row["pair_id"], *problem)
            continue
        tally.keep()
        yield row


def _pair_row(candidate: Candidate, facts: _Facts, capture: Row, config: ScoreConfig) -> Row:
    kind, a, b = candidate
    crop_a, crop_b = facts.rows[a], facts.rows[b]
    terms = pair_terms(
        kind, facts.crops[a], facts.crops[b], config,
        camera_a=facts.cameras[facts.views[a]], camera_b=facts.cameras[facts.views[b]],
        joints_a=facts.joints_world[a], joints_b=facts.joints_world[b],
    )  # fmt: skip
    return {
        **terms,
        "pair_id": content_id(kind, crop_a["crop_id"], crop_b["crop_id"]),
        "part": PART,
        "dataset": capture["dataset"],
        "capture_id": capture["capture_id"],
        "crop_a": crop_a["crop_id"],
        "crop_b": crop_b["crop_id"],
        "split": capture["split"],
    }
