"""Cameras estimated from the people they film, where no calibration is given.

Synchronized views of moving people say how the cameras stand: every joint is one point, seen from
all of them. `two_views.py` guesses how two cameras stand, `grow_views.py` joins the views,
`associate.py` then says which other tracks are one person, and `bundle.py` adjusts everything
together. At last the evidence is judged: a view that fails gets no camera, and a reason.

What cannot be known: the scale. It is that of people of usual size (`bones.py`, an adult of
1.7 m), so children come out too large and their cameras too far away; angles do not depend on it.
Where two or more cameras are given, the scale is theirs. Distortion is taken for none, the
principal point for the image's centre.

The world's frame, where no camera is given: z up, along the mean direction of standing bodies from
ankles to shoulders; the origin below the people's middle, at the height of their lowest ankles; x
points towards the first camera found. With hands alone it is the first camera's own frame. Given
cameras keep theirs.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mining.calibration.bones import BODY
from mining.calibration.bundle import adjust
from mining.calibration.estimate_config import EstimateConfig
from mining.calibration.evidence import ViewEstimate, judge
from mining.calibration.grow_views import (
    Link,
    Located,
    Pose,
    cameras_of,
    find_links,
    free_of,
    grow,
    poses_of,
    priors_of,
    settle,
)
from mining.calibration.people_frame import people_from_world
from mining.calibration.sightings import Footage, swap_sides
from mining.geometry.cameras import Camera
from mining.identity.associate import associate
from mining.identity.fits import AssociateConfig, Fits, Track
from mining.notices import Say, silent
from mining.sources.base import Part

NUM_STEPS = 40  # of the joint adjustment
NUM_ROUNDS = 2  # of joining tracks by the cameras and adjusting these by the tracks
LAGS_S = (-0.3, 0.3, -0.6, 0.6)  # by which two views are shifted against each other, for doubt


def estimate_cameras(
    tracks: Sequence[Track],
    image_sizes_px: Sequence[tuple[int, int]],
    given: Sequence[Camera | None],
    config: EstimateConfig,
    *,
    max_sync_error_s: float,
    say: Say = silent,
) -> tuple[ViewEstimate, ...]:
    """Find the camera of every view that has none; `image_sizes_px` and `given` have an entry for
    each view.

    Tracks (all of bodies, or all of hands) are on one clock, instants of `max_sync_error_s` apart
    are one. Problems: `too_few_moments`, `unexplained`, `small_parallax`, `unsteady`,
    `ambiguous`, `unconfirmed`.
    """
    estimates = [ViewEstimate(camera=camera) for camera in given]
    problems: dict[int, tuple[str, str]] = {}
    wanted = [view for view, camera in enumerate(given) if camera is None]
    if wanted and tracks:
        footage = Footage(tracks, image_sizes_px, given, config, max_sync_error_s)
        links = find_links(footage, say)
        located = grow(footage, links, say)
        while located is not None:
            say(f"adjusting the cameras of {len(located.views)} views together")
            located = _refine(footage, tracks, located, max_sync_error_s)
            say(f"judging the cameras of {len(located.views)} views")
            judged = judge(footage, located, links)
            if len(located.views) == 2 and not any(one.problem for one in judged.values()):
                judged = _doubt_two(footage, tracks, located, links, judged, max_sync_error_s)
            failed = {view: one for view, one in judged.items() if one.problem is not None}
            if not failed:
                cameras = _placed(footage, located, image_sizes_px)
                for view, one in judged.items():
                    estimates[view] = replace(one, camera=cameras[view])
                break
            worst = max(failed, key=lambda view: (judged[view].spread_deg or 0.0, view))
            problem = failed[worst].problem
            assert problem is not None
            problems[worst] = problem
            located = _without(footage, located, worst)
            if located is None:
                problems |= {view: one.problem or problem for view, one in failed.items()}
    few = ("too_few_moments", f"fewer than {config.min_moments} moments of one moving person with "
           "another view")  # fmt: skip
    return tuple(
        replace(estimate, problem=problems.get(view, few)) if estimate.camera is None else estimate
        for view, estimate in enumerate(estimates)
    )


def _refine(
    footage: Footage, tracks: Sequence[Track], located: Located, max_sync_error_s: float
) -> Located:
    """Join all tracks that the cameras show to be one person, put confused sides right, and adjust
    everything together.
    """
    centred = [
        replace(track, keypoints_px=keypoints)
        for track, keypoints in zip(tracks, footage.keypoints, strict=True)
    ]
    part: Part = "body" if footage.bones is BODY else "left_hand"
    refined = located
    for _ in range(NUM_ROUNDS):
        cameras: list[Camera | None] = [None] * len(footage.given)
        for view, camera in zip(refined.views, cameras_of(refined.solution), strict=True):
            cameras[view] = camera
        joined, _ = associate(Fits(centred, cameras, AssociateConfig(), max_sync_error_s, part))
        people = [frozenset(one) for one in joined if len(one) > 1] or list(refined.people)
        refined = _settle(footage, poses_of(refined), people)
        if set(people) == set(located.people):
            break
    for _ in range(2):
        seen = swap_sides(refined.solution, refined.seen, footage.bones)
        solution, cost = adjust(
            refined.solution, seen, footage.bones, priors_of(footage, located.views),
            free_of(footage, located.views), NUM_STEPS,
        )  # fmt: skip
        refined = replace(refined, solution=solution, seen=seen, cost=cost)
    return refined


def _doubt_two(
    footage: Footage,
    tracks: Sequence[Track],
    located: Located,
    links: Sequence[Link],
    judged: dict[int, ViewEstimate],
    max_sync_error_s: float,
) -> dict[int, ViewEstimate]:
    """Doubt what two views alone say, unless it fits worse when one of them is shifted in time.

    Two upright people, or one at two times, reproject well from distant cameras at right angles,
    where only the heights of joints must agree. Nothing but their motion tells them apart.
    """
    a, b = located.views
    ours = min(link.cost for link in links if link.views == (a, b))
    for lag_s in LAGS_S:
        shifted = [
            replace(track, times_s=track.times_s + lag_s * (track.view == b)) for track in tracks
        ]
        other = footage.at_times(shifted, max_sync_error_s)
        costs = [link.cost for link in find_links(other) if link.views == (a, b)]
        ratio = min(costs, default=np.inf) / ours
        if ratio < footage.config.min_shifted_cost:
            doubt = ("unconfirmed", f"shifted by {lag_s:g} s they fit nearly as well ({ratio:.2f})")
            return {view: replace(one, problem=doubt) for view, one in judged.items()}
    return judged


def _settle(footage: Footage, poses: dict[int, Pose], people: Sequence[frozenset[int]]) -> Located:
    most = footage.config.max_moments
    return settle(footage, poses, people, num_steps=NUM_STEPS, at_most=most)


def _without(footage: Footage, located: Located, view: int) -> Located | None:
    """The same with a view less; None where no two views would be left, or none to find."""
    views = [other for other in located.views if other != view]
    if len(views) < 2 or all(footage.given[other] is not None for other in views):
        return None
    poses = {other: pose for other, pose in poses_of(located).items() if other != view}
    people = [
        person
        for person in (
            frozenset(i for i in group if footage.views[i] != view) for group in located.people
        )
        if len({footage.views[i] for i in person}) > 1
    ]
    return _settle(footage, poses, people) if people else None


def _placed(
    footage: Footage, located: Located, image_sizes_px: Sequence[tuple[int, int]]
) -> dict[int, Camera]:
    """The located cameras by view: in the people's frame where none is given, with the principal
    point in the middle of their images.
    """
    cameras = cameras_of(located.solution)
    transform = np.eye(4)
    if all(camera is None for camera in footage.given):
        transform = people_from_world(located.solution.joints_world, cameras[0])
    placed = {}
    for view, camera in zip(located.views, cameras, strict=True):
        width_px, height_px = image_sizes_px[view]
        intrinsics = camera.intrinsics.copy()
        intrinsics[:2, 2] = width_px / 2, height_px / 2
        placed[view] = Camera(
            intrinsics=intrinsics,
            world_from_cam=transform @ camera.world_from_cam,
            size_px=(width_px, height_px),
        )
    return placed
