"""The figures of the quality report, each a function from mined rows and their truth to one number.

For purity and handedness, a crop that shows nobody (by `CaptureTruth.match`) counts as wrong.
Errors and correlations of terms are over crops that do show somebody.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from catalog.measurements import Measurement
from catalog.parts import Row
from mining.geometry.cameras import angle_between_views_deg
from mining.geometry.pose import pose_distance_world
from mining.quality.pairs import MinedTruth
from mining.sources.base import Part

MAX_OCCLUSION = 0.5  # people more hidden than that are not expected to be found
MAX_TRUNCATION = 0.3
EVERY = 10  # one frame in so many is looked at for recall, whose truth is slow to work out
MAX_SAMPLED = 400  # pairs whose covisibility is worked out from the surface

FRAMES = ("frame_a", "frame_b")
Array = NDArray[np.float64]


def person_recall(mined: MinedTruth, min_person_px: float) -> Measurement:
    """Share of the people to be seen, in frames that were looked at, who were found and belong to
    an identity.
    """
    found: dict[tuple[str, str, int], set[int]] = defaultdict(set)
    for row in mined.detections:
        key = (row["capture_id"], row["view_id"], row["frame_index"])
        people = found[key]
        if row["part"] == "body" and row["detection_id"] not in mined.unused:
            shown = mined.shown.get(row["detection_id"])
            if shown is not None:
                people.add(shown[0])
    for capture_id, frame in {(key[0], key[2]) for key in found}:
        for view_id in mined.truths[capture_id].view_ids:
            found[capture_id, view_id, frame] |= set()  # views in which nobody was found count too
    wanted = hits = 0
    for (capture_id, view_id, frame), people in sorted(found.items())[::EVERY]:
        truth = mined.truths[capture_id]
        for true in truth.seen(view_id, frame, ("body",)):
            if true.size_px < min_person_px:
                continue
            occlusion, truncation = truth.scene.visibility(
                true.person, "body", truth.view(view_id), frame
            )
            if occlusion > MAX_OCCLUSION or truncation > MAX_TRUNCATION:
                continue
            wanted += 1
            hits += true.person in people
    return Measurement(
        metric="person_recall",
        value=_share(hits, wanted),
        unit="share",
        count=wanted,
        compared_with=f"people of {min_person_px:g} px or more, at most {MAX_OCCLUSION:.0%} hidden "
        f"by others and {MAX_TRUNCATION:.0%} outside the frame",
    )


def identity_purity(mined: MinedTruth, kind: str) -> Measurement:
    """Share of the pairs of a kind, bodies and hands, whose two crops show the same person's part
    as the pair says.
    """
    pairs = [pair for pair in mined.pairs if pair["kind"] == kind]
    pure = 0
    for pair in pairs:
        a, b = mined.shown.get(pair["detection_a"]), mined.shown.get(pair["detection_b"])
        pure += a is not None and a == b and a[1] == pair["part"]
    return Measurement(
        metric=f"identity_purity_{kind}",
        value=_share(pure, len(pairs)),
        unit="share",
        count=len(pairs),
        compared_with="true identities",
        goal=">= 0.995",
    )


def handedness_accuracy(mined: MinedTruth) -> Measurement:
    """Share of the hand crops that show the hand of the side that they say."""
    hands = [row for row in mined.detections if row["part"] != "body" and row["crop_id"]]
    right = sum(mined.shown.get(row["detection_id"], (0, None))[1] == row["part"] for row in hands)
    return Measurement(
        metric="handedness_accuracy",
        value=_share(right, len(hands)),
        unit="share",
        count=len(hands),
        compared_with="true sides; a crop that shows no hand is wrong",
    )


def view_angle_error(mined: MinedTruth, metric: str = "view_angle_error_deg") -> Measurement:
    """Median error of the view angles of cross-view pairs."""
    errors = []
    for pair in mined.pairs:
        if pair["kind"] != "cross_view" or pair["view_angle_deg"] is None:
            continue
        truth = mined.truths[pair["capture_id"]]
        shown = mined.shown.get(pair["detection_a"])
        if shown is None:
            continue
        middle = truth.scene.joints_world(shown[0], pair["frame_a"], shown[1]).mean(axis=0)
        cameras = [truth.scene.cameras[truth.view(pair[key])] for key in ("view_a", "view_b")]
        true_deg = angle_between_views_deg(cameras[0], cameras[1], middle)
        errors.append(abs(pair["view_angle_deg"] - true_deg))
    return Measurement(
        metric=metric,
        value=float(np.median(errors)) if errors else None,
        unit="deg",
        count=len(errors),
        compared_with="true cameras, median over cross-view pairs",
    )


def covisibilities(mined: MinedTruth, kind: str, parts: Sequence[Part]) -> Array:
    """Estimated and true covisibility (N, 2) of an even sample of the pairs of a kind, the rejected
    ones too.
    """
    scored = (*mined.pairs, *mined.rejected_pairs)
    rows = [pair for pair in scored if pair["kind"] == kind and pair["part"] in parts]
    rows = _even_sample(rows, MAX_SAMPLED)

    def true_covisibility(pair: Row) -> float | None:
        truth = mined.truths[pair["capture_id"]]
        shown = mined.shown.get(pair["detection_a"])
        if shown is None or mined.shown.get(pair["detection_b"]) != shown:
            return None
        return float(
            truth.scene.covisibility(
                shown[0], shown[1],
                truth.view(pair["view_a"]), pair["frame_a"],
                truth.view(pair["view_b"]), pair["frame_b"],
            )
        )  # fmt: skip

    return _both(rows, "covisibility", true_covisibility)


def pose_distances(mined: MinedTruth, parts: Sequence[Part]) -> Array:
    """Measured and true pose distances (N, 2) of cross-pose pairs, rejected ones too: truly, all
    joints in space.
    """
    scored = (*mined.pairs, *mined.rejected_pairs)
    rows = [pair for pair in scored if pair["kind"] == "cross_pose" and pair["part"] in parts]

    def true_distance(pair: Row) -> float | None:
        shown = mined.shown.get(pair["detection_a"])
        if shown is None or mined.shown.get(pair["detection_b"]) != shown:
            return None
        scene = mined.truths[pair["capture_id"]].scene
        joints = [scene.joints_world(shown[0], pair[key], shown[1]) for key in FRAMES]
        return pose_distance_world(*joints, min_joints=len(joints[0]))

    return _both(rows, "pose_distance", true_distance)


def time_error(mined: MinedTruth) -> Measurement:
    """Largest error of the pairs' time gaps."""
    errors = []
    for pair in mined.pairs:
        times_s = mined.truths[pair["capture_id"]].scene.times_s
        true_s = abs(times_s[pair["frame_b"]] - times_s[pair["frame_a"]])
        errors.append(abs(pair["time_gap_s"] - true_s))
    return Measurement(
        metric="time_error_s",
        value=max(errors, default=None),
        unit="s",
        count=len(errors),
        compared_with="true times, largest error",
        goal="0",
    )


def rank_correlation(both: Array) -> float | None:
    """Spearman's rank correlation of the columns of (N, 2); None for too few or constant ones."""
    if len(both) < 3 or (np.ptp(both, axis=0) == 0).any():
        return None
    return float(spearmanr(both[:, 0], both[:, 1]).statistic)


def linear_correlation(both: Array) -> float | None:
    """Pearson's correlation of the columns of (N, 2); None for too few or constant ones."""
    if len(both) < 3 or (np.ptp(both, axis=0) == 0).any():
        return None
    return float(np.corrcoef(both[:, 0], both[:, 1])[0, 1])


def _both(rows: Sequence[Row], term: str, true_value: Callable[[Row], float | None]) -> Array:
    pairs = [(row[term], true_value(row)) for row in rows if row[term] is not None]
    known = [(found, true) for found, true in pairs if true is not None]
    return np.array(known, np.float64).reshape(-1, 2)


def _even_sample(rows: Sequence[Row], most: int) -> list[Row]:
    places = np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)
    return [rows[k] for k in places]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
