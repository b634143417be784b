"""What is cut off or hidden is measured as rendering has it, and clothes are told apart in any
light.
"""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from scipy.stats import spearmanr

from mining.cropping.appearance import appearance_similarity
from mining.cropping.crop import CropConfig, cut, reject_person
from mining.cropping.visible_share import Figure, figures_of, occlusion, truncation
from mining.sources.base import Detection
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.scene import Scene
from tests.skeletons import STANDING_M

WIDTH_PX, HEIGHT_PX = 240, 200
SCENE = SyntheticConfig(
    people_per_capture=4, num_views=4, num_frames=3, image_px=(WIDTH_PX, HEIGHT_PX), seed=12,
    min_fill=0.8, max_fill=1.9,
)  # fmt: skip
CONFIG = CropConfig(min_person_px=60)


def standing(x: float, y: float, scale: float = 100.0, unseen: tuple[int, ...] = ()) -> Detection:
    """Somebody upright with their feet at (x, y), `scale` pixels to the metre."""
    points = np.stack([x - STANDING_M[:, 0] * scale, y - STANDING_M[:, 1] * scale], axis=1)
    keypoints = np.column_stack([points, np.full(17, 0.9)]).astype(np.float32)
    keypoints[list(unseen), 2] = 0.0
    box = np.array([*points.min(axis=0), *points.max(axis=0)], np.float32)
    return Detection(box_px=box, keypoints_px=keypoints, score=0.9)


def cut_off(person: Detection) -> float | None:
    return truncation(Figure(person.keypoints_px, 0.3), 300, 300)


def hidden(person: Detection, *others: Detection) -> float | None:
    figure = Figure(person.keypoints_px, 0.3)
    return occlusion(figure, figures_of(others, 0.3), person.mask, 300, 300)


def test_who_stands_free_is_neither_cut_off_nor_hidden() -> None:
    assert cut_off(standing(150, 250)) == 0
    assert hidden(standing(150, 250), standing(40, 280)) == 0


def test_legs_below_the_frame_are_guessed_from_the_rest() -> None:
    whole = cut_off(standing(150, 380))
    guessed = cut_off(standing(150, 380, unseen=(13, 14, 15, 16)))
    assert whole is not None and guessed is not None
    assert 0.2 < whole < 0.5 and guessed == pytest.approx(whole, abs=0.1)


def test_more_is_cut_off_the_further_one_is_out() -> None:
    shares = [cut_off(standing(x, 250)) for x in (150, 20, 0, -20, -100)]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1


def test_only_the_nearer_one_hides_the_other() -> None:
    front, behind = standing(150, 280, 120), standing(160, 250)
    assert hidden(front, behind) == 0
    share = hidden(behind, front)
    assert share is not None and share > 0.4


def test_keypoints_unseen_within_the_frame_are_hidden_by_something() -> None:
    share = hidden(standing(150, 250, unseen=(13, 14, 15, 16)))
    assert share is not None and 0.15 < share < 0.5


def test_too_few_keypoints_say_nothing() -> None:
    person = standing(150, 250, unseen=tuple(range(2, 17)))
    assert cut_off(person) is None and hidden(person) is None


@pytest.mark.parametrize("unseen", [(0,), (0, 5, 9), (4, 8, 12, 16), tuple(range(13, 21))])
def test_a_hand_with_unseen_keypoints_is_completed(unseen: tuple[int, ...]) -> None:
    points = np.zeros((21, 2))
    for finger, base in enumerate((1, 5, 9, 13, 17)):
        points[base : base + 4, 0] = 100 + 12 * finger
        points[base : base + 4, 1] = 100 - (30 if finger else 0) - 14 * np.arange(4)
    points[0] = (124, 130)
    keypoints = np.column_stack([points, np.full(21, 0.9)]).astype(np.float32)
    keypoints[list(unseen), 2] = 0.0
    found = Figure(keypoints, 0.3).points
    assert np.abs(found - points).max() < 60 and np.isfinite(found).all()


@cache
def measured() -> list[tuple[str, int, float, float, Detection, tuple[Detection, ...]]]:
    """Everybody in a crowded scene: who, their view, true occlusion and truncation, detections."""
    scene = Scene(SCENE, 0)
    found = []
    for view in range(4):
        for frame in range(3):
            image, people = scene.render(view, frame)
            bodies = tuple(person for person in people if person.part == "body")
            for person in bodies:
                if reject_person(person, WIDTH_PX, HEIGHT_PX, CONFIG) or person.identity is None:
                    continue
                place = scene.people.index(person.identity)
                shares = scene.visibility(place, "body", view, frame)
                others = tuple(other for other in bodies if other is not person)
                found.append((person.identity, *shares, image, person, others))
    return found


@pytest.mark.parametrize("masked", [True, False])
def test_occlusion_and_truncation_follow_those_of_rendered_people(masked: bool) -> None:
    truth, found = [], []
    for _, true_occlusion, true_truncation, image, person, others in measured():
        if not masked:
            person = replace(person, mask=None)
        crop = cut(image, person, others, CONFIG)
        truth.append((true_occlusion, true_truncation))
        found.append((crop.occlusion, crop.truncation))
    occlusions, truncations = (
        (np.array(truth)[:, k], np.array(found, float)[:, k]) for k in range(2)
    )
    assert (occlusions[0] > 0.05).sum() >= 8 and (truncations[0] > 0.02).sum() >= 8
    assert np.abs(occlusions[0] - occlusions[1]).mean() < 0.05
    assert np.abs(truncations[0] - truncations[1]).mean() < 0.03
    some = occlusions[0] > 0.05
    assert spearmanr(occlusions[0][some], occlusions[1][some])[0] > 0.8
    assert spearmanr(*truncations)[0] > 0.8


def test_the_same_clothes_are_alike_from_all_sides_and_others_are_not() -> None:
    described = [
        (who, cut(image, replace(person, mask=None), others, CONFIG).appearance)
        for who, hidden_share, _, image, person, others in measured()
        if hidden_share < 0.5
    ]
    alike: dict[bool, list[float]] = {True: [], False: []}
    for k, (who, colours) in enumerate(described):
        for other, others_colours in described[:k]:
            value = appearance_similarity(colours, others_colours)
            if value is not None:
                alike[who == other].append(value)
    same, different = np.array(alike[True]), np.array(alike[False])
    assert len(same) > 30 and (same[:, None] > different).mean() > 0.95


def test_light_changes_the_colours_little() -> None:
    _, _, _, image, person, others = measured()[0]
    bright = cut(image, person, others, CONFIG).appearance
    dim = np.clip(image * 0.6, 0, 255).astype(np.uint8)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) + 90) % 180
    recoloured = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    similar = [
        appearance_similarity(bright, cut(other, person, others, CONFIG).appearance)
        for other in (image, dim, recoloured)
    ]
    assert similar[0] == pytest.approx(1, abs=1e-3)
    assert similar[1] > 0.85 > similar[2]


def test_descriptions_of_different_parts_are_not_compared() -> None:
    assert appearance_similarity([1.0] + [0.0] * 37, [1.0] + [0.0] * 18) is None
    assert appearance_similarity([0.0] * 38, [1.0] + [0.0] * 37) is None
    assert appearance_similarity(None, [1.0] + [0.0] * 37) is None
