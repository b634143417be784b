"""Synthetic captures: what they say of themselves is exactly what their pixels show."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog.config import to_dict
from catalog.ids import content_id
from mining.geometry.cameras import triangulate
from mining.sources.base import DatasetSpec
from mining.sources.synthetic import RENDER_VERSION, SyntheticSource
from mining.synthetic.config import SyntheticConfig, quality_scenes
from mining.synthetic.poses import ANGLES, LIMITS, mirrored, random_pose
from mining.synthetic.reader import SyntheticReader, parse_uri, view_uri

ALONE = SyntheticConfig(
    seed=3,
    num_frames=2,
    image_px=(128, 160),
    min_spread_deg=80,  # cameras all around: everybody is seen from the front and from behind
    max_spread_deg=120,
)
TOGETHER = SyntheticConfig(
    seed=5,
    people_per_capture=3,
    num_frames=9,
    fps=3.0,
    motion="smooth",
    image_px=(160,),
)
NUM_SCENES = 8


@pytest.fixture(scope="session")
def alone():
    from mining.synthetic.scene import Scene

    return [Scene(ALONE, index) for index in range(NUM_SCENES)]


@pytest.fixture(scope="session")
def together():
    from mining.synthetic.scene import Scene

    return Scene(TOGETHER, 0)


def every_image(scene):
    for view in range(len(scene.cameras)):
        for time in range(len(scene.times_s)):
            image, people = scene.render(view, time)
            yield view, time, image, [person for person in people if person.part == "body"]


def digest(config):
    """Hash of every byte of a capture's first images; also run in another process."""
    from mining.synthetic.scene import Scene

    scene = Scene(config, 1)
    parts = []
    for view in (0, 2):
        image, people = scene.render(view, 1)
        parts += [image.tobytes(), *(person.keypoints_px.tobytes() for person in people)]
        parts += [person.mask.tobytes() for person in people]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.slow
def test_another_process_with_other_threads_renders_the_same_bytes():
    code = (
        "import torch; torch.set_num_threads(1); import tests.test_synthetic as t;"
        "print(t.digest(t.ALONE), t.digest(t.TOGETHER))"
    )
    root = Path(__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, cwd=root, env=env, check=True)
    assert output.stdout.split() == [digest(ALONE), digest(TOGETHER)]


def test_another_seed_or_capture_renders_another_person(alone):
    assert len({scene.people for scene in alone}) == NUM_SCENES
    images = [scene.render(0, 0)[0].tobytes() for scene in alone]
    assert len(set(images)) == NUM_SCENES


def test_rendering_in_another_order_changes_nothing(together):
    from mining.synthetic.scene import Scene

    late_first = Scene(TOGETHER, 0)
    late_first.render(1, 8)
    assert np.array_equal(late_first.render(2, 1)[0], together.render(2, 1)[0])


def test_boxes_are_the_bounds_of_the_masks(alone, together):
    for scene in (*alone, together):
        for _, _, image, people in every_image(scene):
            for person in people:
                assert person.mask.shape == image.shape[:2]
                rows, columns = np.nonzero(person.mask)
                bounds = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                assert person.box_px.tolist() == bounds


def test_visible_keypoints_lie_on_their_person_and_confidences_say_what_is_seen(alone, together):
    seen = 0
    for scene in (*alone, together):
        for _, _, _, people in every_image(scene):
            for person in people:
                x, y, confidence = person.keypoints_px.T
                height, width = person.mask.shape
                inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
                assert np.array_equal(confidence > 0, inside)
                assert set(confidence.tolist()) <= {0.0, 0.5, 1.0}
                # A pixel's mask is that of its centre, so a keypoint may be on the next pixel.
                grown = cv2.dilate(person.mask.astype(np.uint8), np.ones((3, 3), np.uint8))
                visible = confidence == 1
                assert grown[y[visible].astype(int), x[visible].astype(int)].all()
                seen += visible.sum()
    assert seen > 500


def test_a_keypoint_behind_the_head_is_hidden(alone):
    front, back = [], []
    for scene in alone:
        for view, time, _, people in every_image(scene):
            nose, left_ear, right_ear = scene.joints_world(0, time)[[0, 3, 4]]
            facing = nose - (left_ear + right_ear) / 2
            to_camera = scene.cameras[view].centre_world - nose
            cosine = facing @ to_camera / np.linalg.norm(facing) / np.linalg.norm(to_camera)
            if abs(cosine) > 0.7:
                (front if cosine > 0 else back).append(people[0].keypoints_px[0, 2])
    assert len(back) >= 3
    assert max(back) == 0.5
    assert len(front) >= 3
    assert np.mean(np.array(front) == 1) > 0.6  # an arm may be before the face


def test_keypoints_are_the_projected_joints(alone, together):
    for scene in (*alone, together):
        for view, time, _, people in every_image(scene):
            for person in people:
                joints = scene.joints_world(scene.people.index(person.identity), time)
                pixels = scene.cameras[view].project(joints)
                np.testing.assert_allclose(person.keypoints_px[:, :2], pixels, atol=1e-3)


def test_keypoints_of_two_views_triangulate_to_the_joints(alone):
    for scene in alone:
        pixels = np.stack([scene.render(view, 0)[1][0].keypoints_px[:, :2] for view in (0, 1)])
        points, _ = triangulate(list(scene.cameras[:2]), pixels.astype(float), np.ones((2, 17)))
        np.testing.assert_allclose(points, scene.joints_world(0, 0), atol=1e-3)


def test_masks_agree_with_the_projected_surface(alone):
    for scene in alone:
        for view, time, _, people in every_image(scene):
            pixels = scene.cameras[view].project(scene.vertices_world(0, time).astype(float))
            limits = np.array(people[0].mask.shape[::-1])
            bounds = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
            np.testing.assert_allclose(
                people[0].box_px, np.clip(bounds, 0, [*limits, *limits]), atol=1.6
            )


def test_people_are_upright_and_stand_on_the_floor(alone, together):
    for scene in (*alone, together):
        for person in range(len(scene.people)):
            vertices, joints = scene.vertices_world(person, 0), scene.joints_world(person, 0)
            assert abs(vertices[:, 2].min()) < 1e-5
            assert joints[:5, 2].mean() > joints[11:13, 2].mean()
            assert 0.5 < np.ptp(vertices[:, 2]) < 2.7


def test_most_people_are_fully_in_frame(alone):
    touching = []
    for scene in alone:
        for _, _, image, people in every_image(scene):
            x0, y0, x1, y1 = people[0].box_px
            touching.append(min(x0, y0) <= 0 or x1 >= image.shape[1] or y1 >= image.shape[0])
    assert np.mean(touching) < 0.2


def test_left_is_left(alone, together):
    for scene in (*alone, together):
        for person in range(len(scene.people)):
            for time in range(len(scene.times_s)):
                joints = scene.joints_world(person, time)
                up = joints[5:7].mean(axis=0) - joints[11:13].mean(axis=0)
                to_front = joints[0] - joints[3:5].mean(axis=0)
                to_left = np.cross(up, to_front)
                assert to_left @ (joints[3] - joints[4]) > 0  # ears
                assert to_left @ (joints[5] - joints[6]) > -0.002  # shoulders; heads may turn


def test_who_faces_the_camera_has_the_left_shoulder_on_the_right_of_the_image(alone):
    checked = 0
    for scene in alone:
        for view, time, _, people in every_image(scene):
            joints = scene.joints_world(0, time)
            to_left = joints[5] - joints[6]
            facing = np.cross(to_left, [0.0, 0.0, 1.0])
            to_camera = scene.cameras[view].centre_world - joints[5:7].mean(axis=0)
            if facing @ to_camera > 0.8 * np.linalg.norm(facing) * np.linalg.norm(to_camera):
                left, right = people[0].keypoints_px[[5, 6], 0]
                assert left > right
                checked += 1
    assert checked >= 2


def test_people_hide_each_other_and_their_masks_are_disjoint(together):
    overlaps = 0
    for _, _, _, people in every_image(together):
        total = sum(person.mask.astype(int) for person in people)
        assert np.max(total) == 1
        boxes = [person.box_px for person in people]
        for i, a in enumerate(boxes):
            for b in boxes[i + 1 :]:
                overlaps += bool(np.all(np.minimum(a[2:], b[2:]) > np.maximum(a[:2], b[:2])))
    assert overlaps > 0


def test_smooth_motion_is_slow_enough_to_follow(together):
    for person in range(len(together.people)):
        joints = np.stack([together.joints_world(person, time) for time in range(9)])
        trunk = joints[:, [5, 6, 11, 12]].mean(axis=1)
        steps_m = np.linalg.norm(np.diff(trunk, axis=0), axis=1)
        assert steps_m.max() < 1.2 / TOGETHER.fps
        assert steps_m.min() > 0.02


def test_backgrounds_change_with_every_image_unless_they_are_static():
    from mining.synthetic.scene import Scene

    for background, same in (("per_image", False), ("static", True)):
        scene = Scene(SyntheticConfig(image_px=(64,), num_frames=2, background=background), 0)
        corners = [scene.render(0, time)[0][:4, :4] for time in (0, 1)]
        assert np.array_equal(*corners) == same


def test_random_poses_stay_within_limits_and_mirror_back():
    rng = np.random.default_rng(0)
    low, high, _ = np.array(list(LIMITS.values())).T
    for _ in range(200):
        pose = random_pose(rng)
        assert ((pose >= low) & (pose <= high)).all()
        assert np.array_equal(mirrored(mirrored(pose)), pose)
        names = dict(zip(ANGLES, mirrored(pose), strict=True))
        assert names["left_elbow"] == pose[ANGLES.index("right_elbow")]


def test_a_uri_holds_everything_its_reader_needs(alone):
    uri = view_uri(ALONE, 2, 1)
    assert parse_uri(uri) == (ALONE, 2, 1, ("body", "hands"))
    narrow = SyntheticConfig(min_spread_deg=5, max_spread_deg=10, min_fill=0.2, max_fill=0.3)
    assert parse_uri(view_uri(narrow, 0, 0))[0] == narrow
    info = SyntheticReader().probe(uri)
    assert (info.width_px, info.height_px, info.num_frames) == (128, 160, 2)
    frames = list(SyntheticReader().frames(uri, [0.1, 0.45]))
    assert [frame.index for frame in frames] == [0, 1]
    image, people = alone[2].render(1, 1)
    assert np.array_equal(frames[1].image, image)
    assert frames[1].people[0].identity == people[0].identity


def test_frames_have_no_people_when_they_are_to_be_detected():
    uri = view_uri(ALONE, 0, 0, annotated=())
    assert next(SyntheticReader().frames(uri, [0.0])).people is None


def test_frames_carry_the_annotations_that_are_wanted():
    def parts(*annotated):
        [frame] = SyntheticReader().frames(view_uri(ALONE, 0, 0, annotated), [0.0])
        return [(one.part, one.body, one.identity is not None) for one in frame.people]

    everything = parts("body", "hands")
    assert everything[0] == ("body", None, True) and ("left_hand", 0, True) in everything
    assert parts("body") == [("body", None, True)]
    assert parts("hands") == [(part, None, False) for part, _, _ in everything[1:]]


@pytest.mark.parametrize(
    "uri",
    [
        "video.mp4",
        "synthetic:",
        "synthetic:[1]",
        'synthetic:{"capture":0}',
        view_uri(ALONE, 0, 0).replace('"fps"', '"pace"'),
        view_uri(ALONE, 0, 3),
        view_uri(ALONE, -1, 0),
        view_uri(ALONE, 0, 0, ("hands", "body")),
    ],
)
def test_a_uri_that_says_nothing_is_refused_in_one_sentence(uri):
    with pytest.raises(ValueError, match="not a synthetic view") as caught:
        SyntheticReader().probe(uri)
    assert "\n" not in str(caught.value)


def listed(**options):
    spec = DatasetSpec(name="synthetic", adapter="synthetic", root="", options=options)
    return SyntheticSource().captures(spec).captures


def test_the_source_lists_views_with_the_cameras_of_the_scene(alone):
    options = {**to_dict(ALONE), "num_captures": 8}
    captures = listed(**options)
    assert [capture.name for capture in captures] == [f"synthetic-{i:05d}" for i in range(8)]
    capture, scene = captures[2], alone[2]
    assert capture.subject == scene.people[0]
    for view, camera in zip(capture.views, scene.cameras, strict=True):
        assert view.reader == "synthetic"
        assert view.fingerprint == content_id(view.uri, RENDER_VERSION)
        assert np.array_equal(view.camera.world_from_cam, camera.world_from_cam)
    without = listed(annotations="none", **options)[2].views[0]
    assert without.fingerprint != capture.views[0].fingerprint
    assert parse_uri(without.uri)[3] == ()
    assert without.camera is not None
    assert listed(calibration="none", **options)[2].views[0].camera is None
    groups = {listed(annotations=kind, **options)[0].annotated for kind in ("given", "body")}
    assert groups == {("body", "hands"), ("body",)}


def test_named_scenes_are_what_the_other_options_change():
    [capture] = listed(num_captures=1, scenes="quality", num_frames=5)
    assert len(capture.views) == 6
    assert parse_uri(capture.views[0].uri)[0] == replace(quality_scenes(), num_frames=5)


def test_offsets_are_told_only_when_the_clocks_are():
    options = {"num_captures": 1, "scenes": "quality", "clock": "skewed"}
    [given], [withheld] = listed(**options), listed(**options, sync="estimated")
    assert given.sync == "given" and max(view.offset_s for view in given.views) > 0.05
    assert withheld.sync == "estimated" and {view.offset_s for view in withheld.views} == {0.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"captures": 3},
            "unknown option captures; there are: num_captures, scenes, annotations, .*num_views",
        ),
        ({"num_views": 0}, "num_views must be at least 1, got 0"),
        ({"motion": "fast"}, "expected one of random, smooth, crossing"),
        ({"num_captures": 0}, "num_captures must be at least 1, got 0"),
        ({"clock": "skewed"}, "clock=skewed needs a motion"),
        ({"min_fill": 2}, "min_fill must be more than 0 and at most max_fill"),
        ({"annotations": "some"}, "annotations=some: expected one of given, body, hands, none"),
    ],
)
def test_the_source_refuses_options_it_does_not_have(options, message):
    with pytest.raises(ValueError, match=message):
        listed(**options)


def test_importing_mining_does_not_import_the_renderer():
    code = (
        "import sys, mining.sources.synthetic;"
        "print([name for name in ('torch', 'warp', 'anny') if name in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"
