"""Tracks: the detections of one view joined over time, one person each.

Every frame's detections are assigned at once to the tracks still open (Hungarian assignment). The
cost compares a detection with what constant velocity predicts of a track: displacement, box overlap
and keypoint similarity. All allowances grow with the time since the track was last seen, because
footage is sampled at 5 to 10 frames a second. A track that mixes two people would poison every pair
made from it, one that is cut in two costs little: so where another assignment is nearly as good,
the tracks end and new ones begin.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from catalog.squares import box_overlaps
from mining.cropping.appearance import appearance_similarity

Array = NDArray[np.float64]

FORBIDDEN = 1e3  # cost of what the gates forbid; far above any real cost, which is 0 to 1
MIN_COMMON_KEYPOINTS = 4  # with fewer, displacement is that of the boxes


@dataclass(frozen=True, kw_only=True)
class TrackConfig:
    """Gates of tracking.

    A size is the longer side of a person's box: motion and growth are measured in it.
    """

    max_gap_s: float = 0.8  # a person unseen for longer starts a new track
    min_track_frames: int = 3  # shorter tracks are dropped
    min_keypoint_confidence: float = 0.3  # keypoints below it are not compared
    # a sprint across the view; halved once a track's velocity is known
    max_speed_sizes_per_s: float = 4.0
    max_jump_sizes: float = 0.9  # from one detection to the next, however long the gap
    position_slack_sizes: float = 0.1  # jitter of detections
    max_growth_per_s: float = 1.5  # natural logarithm of the size's change
    growth_slack: float = 0.3  # the same, for jitter: raised arms, feet cut off
    # standard deviation of a keypoint about its prediction, at once ...
    keypoint_slack_sizes: float = 0.06
    keypoint_speed_sizes_per_s: float = 0.6  # ... and for each second since
    max_prediction_s: float = 0.4  # velocity is trusted no longer
    min_pose_similarity: float = 0.15  # of keypoints after removing displacement, 0 to 1
    min_appearance_similarity: float = 0.5  # of colours from one detection to the next, 0 to 1
    # cost (0 to 1) by which an assignment must beat its rival, or tracks are cut; twice that where
    # a velocity is still unknown
    ambiguity_margin: float = 0.05
    duplicate_overlap: float = 0.7  # IoU and keypoint similarity above it: one person found twice
    hand_speed_ratio: float = 4.0  # of hands to people, each measured in its own size
    min_handedness_share: float = 0.8  # of a track's frames that must agree on which hand it is

    def for_hands(self) -> "TrackConfig":
        """The same gates for hands, which are small and fast."""
        return replace(
            self,
            max_speed_sizes_per_s=self.max_speed_sizes_per_s * self.hand_speed_ratio,
            keypoint_speed_sizes_per_s=self.keypoint_speed_sizes_per_s * 2,
            max_jump_sizes=self.max_jump_sizes * 2,
        )


@dataclass
class _Open:
    """A track that may go on: its number and its last detection."""

    number: int
    time_s: float
    box_px: Array
    keypoints_px: Array
    appearance: Sequence[float] | None
    velocity_px_per_s: Array | None = None


def link_tracks(
    times_s: Array,
    boxes_px: Array,
    keypoints_px: Array,
    config: TrackConfig,
    appearance: Sequence[Sequence[float] | None] | None = None,
) -> NDArray[np.int64]:
    """Number the track of each of one view's detections (N,), from 0 in order of first detection.

    `times_s` (N,) ascends and is equal within a frame; `boxes_px` is (N, 4) as x0, y0, x1, y1;
    `keypoints_px` (N, K, 3) as x, y, confidence. Detections of tracks shorter than
    `min_track_frames`, second detections of one person in one frame, and boxes that are empty or
    not finite get -1. `appearance` describes colours, where known, as
    mining/cropping/appearance.py does.
    """
    times_s, boxes_px = (
        np.asarray(times_s, np.float64),
        np.asarray(boxes_px, np.float64).reshape(-1, 4),
    )
    keypoints_px = np.array(keypoints_px, np.float64)
    if np.any(np.diff(times_s) < 0):
        raise ValueError("detections must come sorted by time")
    seen = np.isfinite(keypoints_px).all(axis=2) & (
        keypoints_px[..., 2] >= config.min_keypoint_confidence
    )
    keypoints_px[~seen] = np.nan
    usable = np.isfinite(boxes_px).all(axis=1) & (boxes_px[:, 2:] > boxes_px[:, :2]).all(axis=1)
    numbers = np.full(len(times_s), -1, np.int64)
    colours = [None] * len(times_s) if appearance is None else appearance
    open_tracks: list[_Open] = []
    count = 0
    for time_s in np.unique(times_s):
        rows = np.flatnonzero((times_s == time_s) & usable)
        rows = _without_duplicates(rows, boxes_px, keypoints_px, config)
        open_tracks = [
            track for track in open_tracks if time_s - track.time_s <= config.max_gap_s + 1e-9
        ]
        cost = _costs(open_tracks, time_s, boxes_px[rows], keypoints_px[rows], config)
        _forbid_other_colours(cost, open_tracks, [colours[row] for row in rows.tolist()], config)
        matches, cut = _assign(open_tracks, cost, config)
        for place, row in enumerate(rows.tolist()):
            track = matches.get(place)
            if track is None:
                track = _Open(count, time_s, boxes_px[row], keypoints_px[row], colours[row])
                open_tracks.append(track)
                count += 1
            else:
                _advance(track, time_s, boxes_px[row], keypoints_px[row])
            track.appearance = colours[row] or track.appearance
            numbers[row] = track.number
        open_tracks = [track for track in open_tracks if track.number not in cut]
    return _renumber(numbers, config.min_track_frames)


def _sizes(boxes_px: Array) -> Array:
    sizes: Array = (boxes_px[:, 2:] - boxes_px[:, :2]).max(axis=1)
    return sizes


def _displacements(boxes_a: Array, keypoints_a: Array, boxes_b: Array, keypoints_b: Array) -> Array:
    """How far b (K) lies from a (M), in pixels, (M, K, 2): the median over keypoints seen in both,
    which is steadier than a box that grows when an arm is raised; of the boxes' centres where too
    few are seen.
    """
    shifts = keypoints_b[None, :, :, :2] - keypoints_a[:, None, :, :2]  # (M, D, K, 2)
    centres = (
        boxes_b[None, :, :2] + boxes_b[None, :, 2:] - boxes_a[:, None, :2] - boxes_a[:, None, 2:]
    ) / 2
    few = np.isfinite(shifts[..., 0]).sum(axis=2) < MIN_COMMON_KEYPOINTS
    shifts[few] = centres[few][:, None]
    displacements: Array = np.nanmedian(shifts, axis=2)
    return displacements


def _keypoint_similarity(keypoints_a: Array, keypoints_b: Array, spread_px: Array) -> Array:
    """Mean over keypoints seen in both of exp(-d^2 / 2 spread^2), (..., K, 3) to (...); as in
    COCO's object keypoint similarity with one spread for all; 0.5 where too few are seen to tell.
    """
    distances = np.linalg.norm(keypoints_a[..., :2] - keypoints_b[..., :2], axis=-1)
    both = np.isfinite(distances)
    values = np.where(
        both, np.exp(-0.5 * (np.where(both, distances, 0) / spread_px[..., None]) ** 2), 0
    )
    count = both.sum(axis=-1)
    similarity: Array = np.where(
        count < MIN_COMMON_KEYPOINTS, 0.5, values.sum(axis=-1) / np.maximum(count, 1)
    )
    return similarity


def _without_duplicates(
    rows: NDArray[np.int64], boxes_px: Array, keypoints_px: Array, config: TrackConfig
) -> NDArray[np.int64]:
    """Rows of one frame less those that show the same person as another row with more confident
    keypoints.
    """
    confidence = np.nansum(keypoints_px[rows, :, 2], axis=1)
    kept: list[int] = []
    for row in rows[np.argsort(-confidence, kind="stable")]:
        others = np.array(kept, dtype=np.int64)
        overlap = box_overlaps(boxes_px[others], boxes_px[[row]])[:, 0]
        spread_px = config.keypoint_slack_sizes * _sizes(boxes_px[others])
        similarity = _keypoint_similarity(keypoints_px[others], keypoints_px[[row]], spread_px)
        if not np.any(
            (overlap > config.duplicate_overlap) & (similarity > config.duplicate_overlap)
        ):
            kept.append(int(row))
    return np.array(sorted(kept), dtype=np.int64)


def _assign(
    tracks: list[_Open], cost: Array, config: TrackConfig
) -> tuple[dict[int, _Open], set[int]]:
    """Assign one frame's detections to open tracks by cost (M, D): the track of each place, and the
    numbers of tracks to cut.
    """
    left, right = linear_sum_assignment(cost)
    pairs = [(int(i), int(j)) for i, j in zip(left, right, strict=True) if cost[i, j] < FORBIDDEN]
    place_of = dict(pairs)
    matches: dict[int, _Open] = {}
    cut: set[int] = set()
    for i, j in pairs:
        rivals = [k for k in range(len(tracks)) if k != i and cost[k, j] < FORBIDDEN]
        for k in rivals:
            other = place_of.get(k)
            if other is None:  # a track that found nothing could have had this one
                gain = cost[k, j] - cost[i, j]
            elif cost[i, other] < FORBIDDEN:  # the two could change places
                gain = (cost[k, j] + cost[i, other] - cost[i, j] - cost[k, other]) / 2
            else:
                continue
            fresh = tracks[i].velocity_px_per_s is None or tracks[k].velocity_px_per_s is None
            if gain < config.ambiguity_margin * (2 if fresh else 1):
                cut |= {tracks[i].number, tracks[k].number}
    for i, j in pairs:
        if tracks[i].number not in cut:
            matches[j] = tracks[i]
    return matches, cut


def _costs(
    tracks: list[_Open], time_s: float, boxes_px: Array, keypoints_px: Array, config: TrackConfig
) -> Array:
    """Cost (M tracks, D detections), 0 for what was predicted, at most 1 within the gates, else
    FORBIDDEN.
    """
    if not tracks or not len(boxes_px):
        return np.zeros((len(tracks), len(boxes_px)))
    elapsed_s = np.array([time_s - track.time_s for track in tracks])
    moving = np.array([track.velocity_px_per_s is not None for track in tracks])
    velocity = np.stack(
        [
            np.zeros(2) if track.velocity_px_per_s is None else track.velocity_px_per_s
            for track in tracks
        ]
    )
    shift_px = velocity * np.minimum(elapsed_s, config.max_prediction_s)[:, None]
    boxes = np.stack([track.box_px for track in tracks]) + np.tile(shift_px, 2)
    keypoints = np.stack([track.keypoints_px for track in tracks])
    keypoints[..., :2] += shift_px[:, None]
    size_px = _sizes(boxes)
    speed = np.where(moving, 0.5, 1.0) * config.max_speed_sizes_per_s
    reach = config.position_slack_sizes + np.minimum(speed * elapsed_s, config.max_jump_sizes)
    growth = np.abs(np.log(_sizes(boxes_px)[None] / size_px[:, None]))
    max_growth = config.growth_slack + config.max_growth_per_s * elapsed_s

    displacement_px = _displacements(boxes, keypoints, boxes_px, keypoints_px)
    distance = np.linalg.norm(displacement_px, axis=2) / size_px[:, None]
    spread_px = size_px * (
        config.keypoint_slack_sizes + config.keypoint_speed_sizes_per_s * elapsed_s
    )
    spread_px = np.repeat(spread_px[:, None], len(boxes_px), axis=1)
    moved = keypoints[:, None] + np.pad(displacement_px, ((0, 0), (0, 0), (0, 1)))[:, :, None]
    same_pose = _keypoint_similarity(moved, keypoints_px[None], spread_px)
    same_place = _keypoint_similarity(keypoints[:, None], keypoints_px[None], spread_px)
    allowed = (distance <= reach[:, None]) & (growth <= max_growth[:, None])
    allowed &= same_pose >= config.min_pose_similarity
    far = distance / reach[:, None]
    apart = 1 - box_overlaps(boxes, boxes_px)
    grown = growth / max_growth[:, None]
    cost: Array = (far + apart + grown + (1 - same_place) + (1 - same_pose)) / 5
    return np.where(allowed, cost, FORBIDDEN)


def _forbid_other_colours(
    cost: Array,
    tracks: list[_Open],
    colours: Sequence[Sequence[float] | None],
    config: TrackConfig,
) -> None:
    """Forbid what would change a track's colours at once: clothes do not change within a step."""
    for i, j in np.argwhere(cost < FORBIDDEN):
        alike = appearance_similarity(tracks[i].appearance, colours[j])
        if alike is not None and alike < config.min_appearance_similarity:
            cost[i, j] = FORBIDDEN


def _advance(track: _Open, time_s: float, box_px: Array, keypoints_px: Array) -> None:
    """Move a track to its next detection; velocity is averaged with the one before."""
    step_px = _displacements(
        track.box_px[None], track.keypoints_px[None], box_px[None], keypoints_px[None]
    )
    velocity = step_px[0, 0] / (time_s - track.time_s)
    if track.velocity_px_per_s is not None:
        velocity = (velocity + track.velocity_px_per_s) / 2
    track.time_s, track.box_px, track.keypoints_px = time_s, box_px, keypoints_px
    track.velocity_px_per_s = velocity


def _renumber(numbers: NDArray[np.int64], min_track_frames: int) -> NDArray[np.int64]:
    """Drop short tracks and close the gaps in the numbers; each track has one detection a frame."""
    known, counts = np.unique(numbers[numbers >= 0], return_counts=True)
    new = {int(old): place for place, old in enumerate(known[counts >= min_track_frames])}
    return np.array([new.get(int(number), -1) for number in numbers], dtype=np.int64)
