"""What a scene knows of its images, hands, pixels and surface, agrees with itself and with plain
computations.
"""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.stats import spearmanr

from catalog.anny_surface import BODY_PARTS
from mining.synthetic import truth
from mining.synthetic.bodies import JOINTS, pose_bodies
from mining.synthetic.body_model import body_model
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.hand_shapes import HAND_SHAPES
from mining.synthetic.poses import stance, with_hand
from mining.synthetic.render import cast, make_part_mesh
from mining.synthetic.scene import Scene
from mining.synthetic.surface import faces_of, surface

CROWD = SyntheticConfig(
    seed=2,
    people_per_capture=3,
    num_views=4,
    num_frames=8,
    fps=2.0,
    motion="crossing",
    image_px=(320, 256),
    min_spread_deg=50,
    max_spread_deg=80,
)
HANDS = ("left_hand", "right_hand")
SIDES = {"left_hand": 1.0, "right_hand": -1.0}
SHAPE = {
    "gender": 0.9,
    "age": 0.7,
    "muscle": 0.5,
    "weight": 0.4,
    "height": 0.45,
    "proportions": 0.5,
}


@pytest.fixture(scope="module")
def crowd():
    return Scene(CROWD, 0)


@pytest.fixture(scope="module")
def images(crowd):
    frames = (0, 5)
    return {
        (view, frame): crowd.render(view, frame)
        for view in range(CROWD.num_views)
        for frame in frames
    }


def posed_hands(**shapes):
    """The keypoints of both hands of a standing body, in its frame: part to (21, 3)."""
    pose = stance("stand")
    for side, name in shapes.items():
        pose = with_hand(pose, side, np.array(HAND_SHAPES[name], float))
    joints = pose_bodies([SHAPE], [pose]).joints[0]
    return {part: joints[JOINTS[part]] for part in HANDS}


def test_hands_belong_to_bodies_of_their_frame(images):
    seen = 0
    for _, people in images.values():
        for hand in (one for one in people if one.part != "body"):
            body = people[hand.body]
            assert body.part == "body" and body.identity == hand.identity
            assert hand.keypoints_px.shape == (21, 3) and hand.joints_world.shape == (21, 3)
            assert (body.mask | ~hand.mask).all()
            rows, columns = np.nonzero(hand.mask)
            bounds = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert hand.box_px.tolist() == bounds
            # Anatomical sides: the hand's wrist is at the body's wrist of the same side.
            wrists = body.joints_world[[9, 10] if hand.part == "left_hand" else [10, 9]]
            own_m, other_m = np.linalg.norm(wrists - hand.joints_world[0], axis=1)
            assert own_m < 0.05 < other_m
            seen += 1
    assert seen > 25


def test_keypoints_of_hands_are_projected_joints_and_visible_ones_lie_on_the_person(crowd, images):
    on_person = []
    for (view, _), (_, people) in images.items():
        for hand in (one for one in people if one.part != "body"):
            pixels = crowd.cameras[view].project(hand.joints_world)
            np.testing.assert_allclose(hand.keypoints_px[:, :2], pixels, atol=1e-3)
            x, y, confidence = hand.keypoints_px.T
            visible = confidence == 1
            grown = cv2.dilate(people[hand.body].mask.astype(np.uint8), np.ones((3, 3), np.uint8))
            on_person += grown[y[visible].astype(int), x[visible].astype(int)].tolist()
    assert len(on_person) > 250 and np.mean(on_person) > 0.99


def test_fingers_curl_into_the_palm_and_thumbs_are_on_the_right_side():
    names = ("flat", "cupped", "fist")
    each = [posed_hands(left=name, right=name) for name in names]
    for part in HANDS:
        flat, cupped, fist = (hands[part] for hands in each)
        wrist, index, little = flat[0], flat[5], flat[17]
        out_of_palm = np.cross(index - wrist, little - wrist) * -SIDES[part]
        tips = [8, 12, 16, 20]
        assert ((cupped[tips] - flat[tips]) @ out_of_palm > 0).all()
        to_wrist = np.linalg.norm(fist[tips] - wrist, axis=1)
        assert (to_wrist < 0.75 * np.linalg.norm(flat[tips] - wrist, axis=1)).all()
        # Hanging down with the palm to the thigh, the thumb is in front, where y is lower.
        assert flat[4, 1] < flat[[12, 16, 20], 1].min() - 0.02
        assert out_of_palm[0] * SIDES[part] < 0  # towards the thigh


def test_a_finger_is_as_long_bent_as_straight():
    def lengths_m(joints):
        fingers = joints[1:].reshape(5, 4, 3)
        return np.linalg.norm(np.diff(fingers, axis=1), axis=2)

    straight, bent = posed_hands(left="flat", right="fist").values()
    np.testing.assert_allclose(lengths_m(straight)[:, :2], lengths_m(bent)[:, :2], atol=1e-3)
    np.testing.assert_allclose(lengths_m(straight), lengths_m(bent), atol=4e-3)  # skin at the tips


def test_pixels_tell_who_and_which_part(crowd, images):
    checked = 0
    named = {
        7: ("left_upper_arm", "left_lower_arm"),
        8: ("right_upper_arm", "right_lower_arm"),
        13: ("left_upper_leg", "left_lower_leg"),
        14: ("right_upper_leg", "right_lower_leg"),
        0: ("head",),
    }
    for (view, frame), (_, people) in images.items():
        pixels = crowd.truth(view, frame)
        for one in people:
            shown = pixels.person == crowd.people.index(one.identity)
            if one.part != "body":
                shown &= pixels.part == BODY_PARTS.index(one.part)
            assert np.array_equal(shown, one.mask)
        for body in (one for one in people if one.part == "body"):
            for joint, parts in named.items():
                x, y, confidence = body.keypoints_px[joint]
                if confidence == 1 and body.mask[int(y), int(x)]:
                    checked += 1
                    assert BODY_PARTS[pixels.part[int(y), int(x)]] in parts
        nobody = pixels.person < 0
        assert (pixels.part[nobody] == -1).all() and np.isnan(pixels.uv[nobody]).all()
        assert np.isinf(pixels.depth_m[nobody]).all() and not np.isnan(pixels.uv[~nobody]).any()
    assert checked > 40


def seen_points(crowd, view, frame, person):
    """The points in space behind a person's pixels, from depth alone, and their UVs."""
    pixels, camera = crowd.truth(view, frame), crowd.cameras[view]
    rows, columns = np.nonzero(pixels.person == person)
    rays = np.column_stack([columns + 0.5, rows + 0.5, np.ones(len(rows))])
    in_cam = (rays @ np.linalg.inv(camera.intrinsics).T) * pixels.depth_m[rows, columns, None]
    world = in_cam @ camera.world_from_cam[:3, :3].T + camera.world_from_cam[:3, 3]
    return world, pixels.uv[rows, columns]


def test_depth_leads_to_the_surface(crowd):
    for view in range(4):
        points, _ = seen_points(crowd, view, 0, 1)
        distances_m, _ = cKDTree(crowd.vertices_world(1, 0)).query(points)
        assert np.max(distances_m) < 0.05 and np.median(distances_m) < 0.01


def test_one_place_in_the_texture_is_one_place_on_the_body(crowd):
    (points_a, uv_a), (points_b, uv_b) = (seen_points(crowd, view, 0, 1) for view in (0, 1))
    distance, nearest = cKDTree(uv_b).query(uv_a)
    same = distance < 1e-3
    assert same.sum() > 30
    apart_m = np.linalg.norm(points_a[same] - points_b[nearest[same]], axis=1)
    assert np.quantile(apart_m, 0.95) < 0.01


def test_every_part_has_a_surface_and_sides_are_mirrored():
    middles = body_model().reference_vertices[body_model().faces].mean(axis=1)
    for number, part in enumerate(BODY_PARTS):
        x = middles[surface().part == number, 0]
        assert len(x) > 100
        side = part.partition("_")[0]
        assert np.median(np.sign(x)) == {"left": 1, "right": -1}.get(side, np.median(np.sign(x)))
    assert len(faces_of("body")) == len(body_model().faces)
    with pytest.raises(ValueError, match="unknown body part 'tail'; there are: body, head"):
        faces_of("tail")


def hits_before(triangles, start, ends):
    """Whether anything is on the way to each end: Möller and Trumbore's test of all triangles."""
    a, ab, ac = triangles[:, 0], *(triangles[:, k] - triangles[:, 0] for k in (1, 2))
    answers = []
    for end in ends:
        way = end - start
        across = np.cross(way, ac)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = 1.0 / np.einsum("td,td->t", ab, across)
            u = np.einsum("td,td->t", start - a, across) * scale
            other = np.cross(start - a, ab)
            v = other @ way * scale
            share = np.einsum("td,td->t", ac, other) * scale
        on_way = (u >= 0) & (v >= 0) & (u + v <= 1) & (share > 1e-6)
        distance = np.linalg.norm(way)
        answers.append(bool((on_way & (share * distance < distance - truth.SKIN_M)).any()))
    return np.array(answers)


def test_seen_triangles_are_those_of_a_test_against_every_triangle(crowd):
    faces, view, person = body_model().faces, 2, 0
    everybody = np.concatenate(
        [crowd.vertices_world(one, 3)[faces].astype(float) for one in range(3)]
    )
    seen = crowd.visible_faces(view, 3, person)
    own = everybody[: len(faces)]
    middles = own.mean(axis=1)
    camera = crowd.cameras[view]
    facing = (
        np.cross(own[:, 1] - own[:, 0], own[:, 2] - own[:, 0]) * (camera.centre_world - middles)
    ).sum(axis=1) > 0
    assert not seen[~facing].any()
    asked = np.random.default_rng(0).choice(np.flatnonzero(facing), 80, replace=False)
    hidden = hits_before(everybody, camera.centre_world, middles[asked])
    assert 5 < hidden.sum() < 75
    assert (seen[asked] == ~hidden).mean() >= 0.97


def test_covisibility_is_whole_with_itself_alike_both_ways_and_falls_with_the_angle():
    alone = Scene(replace(CROWD, people_per_capture=1, num_views=6, num_frames=1), 0)
    angles_deg, shares = [], []
    middle = alone.joints_world(0, 0).mean(axis=0)
    for a in range(6):
        assert alone.covisibility(0, "body", a, 0, a, 0) == 1.0
        for b in range(a):
            share = alone.covisibility(0, "body", a, 0, b, 0)
            assert share == alone.covisibility(0, "body", b, 0, a, 0)
            assert 0 <= share < 1
            rays = [alone.cameras[view].centre_world - middle for view in (a, b)]
            cosine = rays[0] @ rays[1] / np.prod(np.linalg.norm(rays, axis=1))
            angles_deg.append(np.degrees(np.arccos(cosine)))
            shares.append(share)
    assert spearmanr(angles_deg, shares).statistic < -0.9


def test_covisibility_across_times_is_of_the_same_surface(crowd):
    across = [crowd.covisibility(0, "body", 0, 0, 0, frame) for frame in range(8)]
    assert across[0] == 1.0 and max(across[1:]) < 0.98
    assert 0 <= crowd.covisibility(0, "left_hand", 0, 0, 1, 4) <= 1


def test_hidden_and_outside_shares_are_those_of_the_images(crowd, images):
    hidden_shares = []
    for (view, frame), (_, people) in images.items():
        camera = crowd.cameras[view]
        for body in (one for one in people if one.part == "body"):
            person = crowd.people.index(body.identity)
            hidden, outside = crowd.visibility(person, "body", view, frame)
            alone = make_part_mesh(crowd.vertices_world(person, frame), body_model().faces)
            whole, _ = cast(alone, camera, CROWD.width_px, CROWD.height_px)
            assert hidden == pytest.approx(1 - body.mask.sum() / (whole >= 0).sum(), abs=0.01)
            if body.mask[[0, -1]].sum() + body.mask[:, [0, -1]].sum() == 0 and hidden == 0:
                assert outside == 0
            hidden_shares.append(hidden)
    assert min(hidden_shares) == 0 and max(hidden_shares) > 0.2


def test_a_part_pushed_over_the_edge_is_outside_by_that_share(crowd):
    view, frame, person = 0, 0, 1
    mesh, vertices = crowd.mesh(view, frame), crowd.vertices_world(person, frame)
    pixels = crowd.cameras[view].project(vertices.astype(float))
    for share in (0.0, 0.5, 1.0):
        intrinsics = crowd.cameras[view].intrinsics.copy()
        if share == 0.5:
            intrinsics[0, 2] -= np.median(pixels[:, 0])
        elif share == 1.0:
            intrinsics[0, 2] -= 2.0 * CROWD.width_px
        camera = replace(crowd.cameras[view], intrinsics=intrinsics)
        size_px = (4 * CROWD.width_px, CROWD.height_px)
        _, outside = truth.hidden_and_outside(mesh, vertices, person, "body", camera, size_px)
        assert outside == pytest.approx(share, abs=0.12)
