"""Crowds with known truth: people who walk among each other, seen by cameras, and the rows that a
detector with real faults would give: noise that lasts, keypoints lost or flipped, people hidden,
missed, found twice, and found where nobody is.

`python -m tests.crowds --scenes 5` measures how well `mining.identity.identify` tells them apart.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.parts import Row
from catalog.squares import box_overlaps
from mining.geometry.cameras import Camera
from mining.identity.fits import AssociateConfig
from mining.identity.identify import Identified, identify
from mining.identity.track import TrackConfig

Array = NDArray[np.float64]

NOBODY = -1  # the truth of a detection of nothing
AREA_M = 1.7  # people walk within this of the middle, in x and y
FLIPPED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
LEGS_FLIPPED = [*range(11), 12, 11, 14, 13, 16, 15]
SIZE_PX = (1280, 960)


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """A capture: rows of `detections` sorted as the pair stage sorts them, who each is, and the
    views.
    """

    rows: list[Row]
    who: NDArray[np.int64]
    cameras: list[Camera]
    views: list[str]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How good identities are: counts, so that scenes can be summed."""

    cross_view: tuple[int, int]  # pairs of one instant and two views in one identity: right, all
    cross_view_possible: int  # ... that a perfect answer would have
    cross_pose: tuple[int, int]  # pairs of two instants in one identity: right, all
    tracked: tuple[int, int]  # detections in a track that are its main person's, all in tracks
    kept: tuple[int, int]  # detections of people in an identity, all
    covered: tuple[float, int]  # each person's share in their largest identity, summed; people
    ambiguous: int  # detections rejected so


def film_crowd(
    seed: int,
    num_people: int = 4,
    num_views: int = 4,
    fps: float = 10.0,
    duration_s: float = 8.0,
    noise: float = 1.0,
    bystander: bool = False,
) -> Crowd:
    """Film a crowd; `noise` scales all faults of the detector."""
    generator = np.random.default_rng([seed, num_people, num_views, int(fps * 100)])
    times_s = np.arange(0, duration_s, 1 / fps)
    people = walk_among_each_other(num_people, times_s, generator)
    if bystander:
        away = generator.uniform(0, 2 * np.pi)
        place = np.tile(3.2 * np.array([np.cos(away), np.sin(away)]), (len(times_s), 1))
        place += 0.15 * _smooth(times_s, 2.0, (2,), generator)
        people.append(_bodies(place, away + np.pi + np.zeros(len(times_s)), times_s, generator))
    cameras = cameras_around(num_views, generator)
    found: list[tuple[Row, int]] = []
    for view, camera in enumerate(cameras):
        for time_s, who, keypoints, box in _detect(camera, people, times_s, noise, generator):
            row = {
                "time_s": float(time_s), "view_id": f"view-{view}", "part": "body",
                "body_detection_id": None, "given_identity": None, "appearance": None,
                "detector_score": 0.9,
                "person_box_px": box.tolist(), "keypoints_px": keypoints.ravel().tolist(),
            }  # fmt: skip
            found.append((row, who))
    order = generator.permutation(len(found))
    found = sorted((found[i] for i in order), key=lambda one: (one[0]["time_s"], one[0]["view_id"]))
    for number, (row, _) in enumerate(found):
        row["detection_id"] = f"{number:06d}"
    return Crowd(
        rows=[row for row, _ in found],
        who=np.array([who for _, who in found]),
        cameras=cameras,
        views=[f"view-{view}" for view in range(num_views)],
    )


def judge(crowd: Crowd, found: Identified) -> Quality:
    """Compare identities with the truth."""
    who, rows = crowd.who, crowd.rows
    times = np.unique([round(row["time_s"], 6) for row in rows], return_inverse=True)[1]
    views = np.array([crowd.views.index(row["view_id"]) for row in rows])
    cross_view, cross_pose = np.zeros(2, int), np.zeros(2, int)
    shares: dict[int, float] = {}
    for person in found.people:
        members = np.array(person.detections)
        i, j = np.triu_indices(len(members), 1)
        i, j = members[i], members[j]
        right = (who[i] == who[j]) & (who[i] != NOBODY)
        same_time = times[i] == times[j]
        cross_view += [right[same_time].sum(), same_time.sum()]
        cross_pose += [right[~same_time].sum(), (~same_time).sum()]
        for one in np.unique(who[members]):
            share = float((who[members] == one).sum() / (who == one).sum())
            shares[int(one)] = max(share, shares.get(int(one), 0.0))
    possible = 0
    for instant in np.unique(times):
        for one in np.unique(who[(times == instant) & (who != NOBODY)]):
            count = len(np.unique(views[(times == instant) & (who == one)]))
            possible += count * (count - 1) // 2
    kept = np.array(sorted(found.track_of), int)
    tracks = np.array([found.track_of[int(k)] for k in kept])
    main = sum(
        np.bincount(who[kept[tracks == t]] + 1)[1:].max(initial=0) for t in np.unique(tracks)
    )
    real = np.unique(who[who != NOBODY])
    return Quality(
        cross_view=(int(cross_view[0]), int(cross_view[1])),
        cross_view_possible=possible,
        cross_pose=(int(cross_pose[0]), int(cross_pose[1])),
        tracked=(int(main), len(kept)),
        kept=(int((who[kept] != NOBODY).sum()), int((who != NOBODY).sum())),
        covered=(sum(shares.get(int(one), 0.0) for one in real), len(real)),
        ambiguous=sum(reason == "ambiguous" for reason, _ in found.rejects.values()),
    )


def walk_among_each_other(
    count: int, times_s: Array, generator: np.random.Generator
) -> list[Array]:
    """Joints (T, 17, 3) of each of `count` people who walk from place to place, past each other,
    and gesture.
    """
    step_s = 0.02
    num_steps = int(np.ceil(times_s[-1] / step_s)) + 2
    place = generator.uniform(-AREA_M, AREA_M, (count, 2))
    goal = generator.uniform(-AREA_M, AREA_M, (count, 2))
    speed = generator.uniform(0.5, 1.4, count)
    velocity = np.zeros((count, 2))
    paths = np.zeros((num_steps, count, 2))
    for step in range(num_steps):
        paths[step] = place
        to_goal = goal - place
        left = np.linalg.norm(to_goal, axis=1)
        arrived = (left < 0.3) | (generator.random(count) < 0.002)
        goal[arrived] = generator.uniform(-AREA_M, AREA_M, (int(arrived.sum()), 2))
        wanted = speed[:, None] * to_goal / np.maximum(left, 0.1)[:, None]
        between = place[:, None] - place[None]
        apart = np.linalg.norm(between, axis=2) + np.eye(count) * 9
        push = (between / apart[..., None] * np.exp(-(apart - 0.45) / 0.12)[..., None]).sum(axis=1)
        velocity += step_s * ((wanted - velocity) / 0.4 + 4.0 * np.clip(push, -3, 3))
        place = place + step_s * velocity
    grid_s = np.arange(num_steps) * step_s
    joints = []
    for person in range(count):
        path = np.stack(
            [np.interp(times_s, grid_s, paths[:, person, axis]) for axis in (0, 1)], axis=1
        )
        moves = np.gradient(paths[:, person], step_s, axis=0)
        kernel = np.hanning(31) / np.hanning(31).sum()
        moves = np.stack([np.convolve(moves[:, axis], kernel, mode="same") for axis in (0, 1)], 1)
        turned = np.unwrap(np.arctan2(moves[:, 1], moves[:, 0]))
        joints.append(_bodies(path, np.interp(times_s, grid_s, turned), times_s, generator))
    return joints


def cameras_around(count: int, generator: np.random.Generator) -> list[Camera]:
    """Cameras on an uneven ring that look at the middle of the area."""
    cameras = []
    first = generator.uniform(0, 2 * np.pi)
    for k in range(count):
        angle = first + 2 * np.pi * (k + generator.uniform(-0.3, 0.3)) / count
        radius = generator.uniform(4.5, 6.0)
        centre = np.array(
            [radius * np.cos(angle), radius * np.sin(angle), generator.uniform(1.0, 2.6)]
        )
        ahead = np.array([*generator.normal(0, 0.15, 2), 0.9]) - centre
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        world_from_cam = np.eye(4)
        world_from_cam[:3, :3] = np.stack([right, np.cross(ahead, right), ahead], axis=1)
        world_from_cam[:3, 3] = centre
        focal = generator.uniform(0.75, 1.0) * SIZE_PX[0]
        intrinsics = np.array([[focal, 0, SIZE_PX[0] / 2], [0, focal, SIZE_PX[1] / 2], [0, 0, 1]])
        cameras.append(
            Camera(
                intrinsics=intrinsics, world_from_cam=world_from_cam,
                distortion=np.array([-0.05, 0.05, 0.0005, 0.0005, 0.0]),
            )
        )  # fmt: skip
    return cameras


def _smooth(
    times_s: Array, period_s: float, shape: Sequence[int], generator: np.random.Generator
) -> Array:
    """Random curves (T, *shape) of about unit variance that change within `period_s`."""
    rate = generator.uniform(0.6, 1.4, (3, *shape)) * 2 * np.pi / period_s
    phase = generator.uniform(0, 2 * np.pi, (3, *shape))
    waves = np.sin(times_s.reshape(-1, *[1] * (len(shape) + 1)) * rate + phase)
    curves: Array = waves.sum(axis=1) * np.sqrt(2 / 3)
    return curves


def _bodies(
    path_m: Array, heading_rad: Array, times_s: Array, generator: np.random.Generator
) -> Array:
    """Joints (T, 17, 3) of one body along a path (T, 2): legs swing with the distance walked, arms
    gesture.
    """
    scale = generator.uniform(0.94, 1.06)
    num_times = len(path_m)
    walked = np.concatenate([[0.0], np.linalg.norm(np.diff(path_m, axis=0), axis=1).cumsum()])
    stride = walked / (0.65 * scale) * np.pi + generator.uniform(0, 6)
    raised = np.clip(0.5 + 0.7 * _smooth(times_s, 4.0, (2,), generator), 0.05, 2.2)
    forward = 0.6 * _smooth(times_s, 3.0, (2,), generator)
    bent = np.clip(0.7 + 0.6 * _smooth(times_s, 3.0, (2,), generator), 0.0, 2.2)
    lean = 0.08 * _smooth(times_s, 5.0, (), generator)
    body = np.zeros((num_times, 17, 3))  # x left, y up, z ahead
    body[:, 0] = [0.0, 1.60, 0.10]
    body[:, 1], body[:, 2] = [0.03, 1.64, 0.08], [-0.03, 1.64, 0.08]
    body[:, 3], body[:, 4] = [0.08, 1.62, 0.0], [-0.08, 1.62, 0.0]
    for side, sign in ((0, 1.0), (1, -1.0)):
        body[:, 5 + side] = [0.18 * sign, 1.42, 0.0]
        up, ahead, elbow = raised[:, side], forward[:, side], bent[:, side]
        upper = np.stack(
            [sign * np.sin(up) * np.cos(ahead), -np.cos(up), np.sin(up) * np.sin(ahead)], axis=1
        )
        lower = np.stack(
            [
                sign * np.sin(up) * np.cos(ahead) * np.cos(elbow),
                -np.cos(up + elbow * 0.5),
                np.sin(elbow) + np.sin(up) * np.sin(ahead),
            ],
            axis=1,
        )
        lower /= np.linalg.norm(lower, axis=1, keepdims=True)
        body[:, 7 + side] = body[:, 5 + side] + 0.30 * upper
        body[:, 9 + side] = body[:, 7 + side] + 0.26 * lower
        body[:, 11 + side] = [0.11 * sign, 0.92, 0.0]
        swing = 0.45 * np.sin(stride + np.pi * side)
        knee = np.clip(-0.7 * np.cos(stride + np.pi * side), 0.05, None)
        zero = np.zeros(num_times)
        body[:, 13 + side] = body[:, 11 + side] + 0.42 * np.stack(
            [zero, -np.cos(swing), np.sin(swing)], axis=1
        )
        body[:, 15 + side] = body[:, 13 + side] + 0.42 * np.stack(
            [zero, -np.cos(swing - knee), np.sin(swing - knee)], axis=1
        )
    body[:, :11, 2] += lean[:, None] * (body[:, :11, 1] - 0.9)
    body *= scale
    ahead_axis = np.stack([np.cos(heading_rad), np.sin(heading_rad), 0 * heading_rad], axis=1)
    left_axis = np.stack([-ahead_axis[:, 1], ahead_axis[:, 0], 0 * heading_rad], axis=1)
    joints: Array = (
        body[..., :1] * left_axis[:, None]
        + body[..., 1:2] * np.array([0.0, 0.0, 1.0])
        + body[..., 2:] * ahead_axis[:, None]
    )
    joints[..., :2] += path_m[:, None]
    return joints


def _detect(
    camera: Camera,
    people: Sequence[Array],
    times_s: Array,
    noise: float,
    generator: np.random.Generator,
) -> list[tuple[float, int, Array, Array]]:
    """What a detector finds in one view: time, who, keypoints (17, 3) and box (4,) of each."""
    num_times = len(times_s)
    exact = np.stack(
        [camera.project(one.reshape(-1, 3)).reshape(num_times, 17, 2) for one in people]
    )
    depth = np.stack([camera.to_camera(one.mean(axis=1))[:, 2] for one in people])
    size = (exact.max(axis=2) - exact.min(axis=2)).max(axis=2)  # (P, T)
    lasting = np.stack([_smooth(times_s, 1.0, (17, 2), generator) for _ in people])
    noisy = exact + size[..., None, None] * noise * (
        0.012 * lasting + 0.008 * generator.normal(size=exact.shape)
    )
    found = []
    for t, time_s in enumerate(times_s):
        low, high = exact[:, t].min(axis=1), exact[:, t].max(axis=1)
        middle, half = (low + high)[:, 0] / 2, np.maximum((high - low)[:, 0] * 0.28, 12.0)
        for who in range(len(people)):
            points, confidence = noisy[who, t].copy(), generator.uniform(0.6, 0.98, 17)
            hidden = np.zeros(17, bool)
            for other in np.flatnonzero(depth[:, t] < depth[who, t] - 0.05):
                before = (
                    (np.abs(exact[who, t, :, 0] - middle[other]) < half[other])
                    & (exact[who, t, :, 1] > low[other, 1])
                    & (exact[who, t, :, 1] < high[other, 1])
                )
                hidden |= before
                if before.mean() > 0.4 and generator.random() < 0.25 * noise:
                    taken = before & (generator.random(17) < 0.5)  # limbs of whoever stands before
                    points[taken] = noisy[other, t, taken]
            outside = ((exact[who, t] < 0) | (exact[who, t] > SIZE_PX)).any(axis=1)
            visible = 1 - (hidden | outside).mean()
            if generator.random() > np.interp(visible, [0.15, 0.3, 0.7], [0.0, 0.3, 0.97]):
                continue
            size_px = size[who, t]
            points[hidden] += generator.normal(0, 0.03 * size_px * noise, (int(hidden.sum()), 2))
            lost = generator.random(17) < np.where(hidden, 0.6, 0.08 * noise)
            confidence[lost | outside] = generator.uniform(0.02, 0.4, int((lost | outside).sum()))
            flip = generator.random()
            if flip < 0.03 * noise:
                points, confidence = points[FLIPPED], confidence[FLIPPED]
            elif flip < 0.06 * noise:
                points, confidence = points[LEGS_FLIPPED], confidence[LEGS_FLIPPED]
            box = _box_of(points[~outside], size_px, generator)
            found.append((time_s, who, np.column_stack([points, confidence]), box))
            if generator.random() < 0.03 * noise:  # found twice
                again = points + generator.normal(0, 0.02 * size_px, (17, 2))
                box = _box_of(again[~outside], size_px, generator)
                found.append((time_s, who, np.column_stack([again, confidence * 0.8]), box))
        if generator.random() < 0.01 * noise:  # nobody there
            who = int(generator.integers(len(people)))
            shift = generator.uniform(-300, 300, 2)
            points = exact[who, t] + shift + generator.normal(0, 0.05 * size[who, t], (17, 2))
            box = _box_of(points, size[who, t], generator)
            confidence = generator.uniform(0.3, 0.7, 17)
            if box_overlaps(box[None], np.concatenate([low, high], axis=1)).max() < 0.3:
                found.append((time_s, NOBODY, np.column_stack([points, confidence]), box))
    return found


def _box_of(points_px: Array, size_px: float, generator: np.random.Generator) -> Array:
    margin = 0.05 * size_px + generator.normal(0, 0.01 * size_px, 4)
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    box: Array = np.concatenate([low - margin[:2], high + margin[2:]])
    return box


def main() -> None:
    """Print a line of figures for each kind of crowd: seeds summed, every second one with a
    bystander.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=5, help="seeds of each kind")
    parser.add_argument("--fps", type=float, nargs="+", default=[10.0, 5.0])
    parser.add_argument(
        "--crowds", nargs="+", default=["3x3", "4x4", "6x3", "6x6", "2x2", "3x1"],
        help="people x views",
    )  # fmt: skip
    parser.add_argument("--noise", type=float, default=1.0, help="scale of the detector's faults")
    options = parser.parse_args()
    sys.stdout.write("people x views, fps: cross-view purity, recall; cross-pose purity; kept; s\n")
    for fps in options.fps:
        for kind in options.crowds:
            people, views = map(int, kind.split("x"))
            qualities = []
            started = time.process_time()
            for seed in range(options.scenes):
                crowd = film_crowd(
                    seed, people, views, fps, noise=options.noise, bystander=seed % 2 == 1
                )
                found = identify(
                    "crowd", crowd.rows, crowd.cameras, crowd.views, TrackConfig(),
                    AssociateConfig(), max_sync_error_s=0.02,
                )  # fmt: skip
                qualities.append(judge(crowd, found))
            seconds = (time.process_time() - started) / options.scenes
            view = np.sum([one.cross_view for one in qualities], axis=0)
            pose = np.sum([one.cross_pose for one in qualities], axis=0)
            kept = np.sum([one.kept for one in qualities], axis=0)
            possible = max(sum(one.cross_view_possible for one in qualities), 1)
            sys.stdout.write(
                f"{kind} {fps:g} fps: {view[0] / max(view[1], 1):.4f} {view[0] / possible:.3f}, "
                f"{pose[0] / max(pose[1], 1):.4f}, {kept[0] / kept[1]:.3f}, {seconds:.1f}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
