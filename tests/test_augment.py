"""Augmentation against slow versions, and the foreground and keypoints stay with the image."""

import cv2
import numpy as np
import pytest
import torch

from catalog.keypoints import NUM_BODY_KEYPOINTS, NUM_HAND_KEYPOINTS
from training.loading.augment import (
    NUM_DRAWS,
    AugmentConfig,
    Look,
    cut_window,
    keypoint_places,
    make_looks,
    move_keypoints,
    resample_shares,
)
from training.loading.colour import cut_out, cut_windows, finish_images, jitter_colours, to_pixels

GENTLE = AugmentConfig(jitter=0.0)


def random_image(px: int = 256, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return cv2.resize(small, (px, px), interpolation=cv2.INTER_CUBIC)


EVERYTHING = np.full((32, 32), 255, np.uint8)
NOBODY = np.zeros((32, 32), np.uint8)


def window(left: float, top: float, side: float) -> Look:
    return Look(left, top, side, 1.0, 1.0, 1.0, 0.5)


def draw_look(config: AugmentConfig, seed: int | None) -> Look:
    chance = None if seed is None else np.random.default_rng(seed).random((1, NUM_DRAWS))
    return Look(*make_looks(config, chance, 1)[0].tolist())


def resample(cells: np.ndarray, look: Look, size: int) -> np.ndarray:
    return resample_shares(cells[None], np.array([look]), size)[0]


def augment(image, cells, config: AugmentConfig, image_px: int, seed: int | None) -> np.ndarray:
    """The image as the model would see it, uint8."""
    look = draw_look(config, seed)
    cut = cut_window(image, look, image_px)
    batch = torch.from_numpy(cut.copy())[None], torch.tensor([look]), torch.from_numpy(cells)[None]
    return to_pixels(finish_images(*batch, image_px, config.background))[0].numpy()


@pytest.mark.parametrize("size", [8, 14, 64])
def test_shares_are_area_averages(size):
    cells = np.random.default_rng(0).random((32, 32))
    look = window(0.0371, 0.1113, 0.875)
    fine = 200  # sample points along each side of each part
    points = (np.arange(size * fine) + 0.5) / (size * fine) * look.side
    rows = np.floor((look.top + points) * 32).astype(int)
    columns = np.floor((look.left + points) * 32).astype(int)
    slow = cells[np.ix_(rows, columns)].reshape(size, fine, size, fine).mean((1, 3))
    np.testing.assert_allclose(resample(cells, look, size), slow, atol=6e-3)


def test_jitter_equals_three_steps():
    images = [random_image(seed=seed).astype(np.float32) / 255 for seed in (0, 1)]
    luma = np.array([0.299, 0.587, 0.114])
    strengths = [(1.2, 0.7, 1.3), (0.8, 1.4, 0.6)]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    new = jitter_colours(batch, *torch.tensor(strengths).unbind(1)).permute(0, 2, 3, 1)
    for i, (brightness, contrast, saturation) in enumerate(strengths):
        slow = images[i] * brightness
        slow = (slow @ luma).mean() * (1 - contrast) + slow * contrast
        slow = (slow @ luma)[:, :, None] * (1 - saturation) + slow * saturation
        np.testing.assert_allclose(new[i], slow, atol=1e-5)


def test_published_crop_is_224_of_256_pixels_untouched():
    image = random_image()
    new = augment(image, EVERYTHING, GENTLE, 224, seed=0)
    places = [
        (y, x)
        for y in range(33)
        for x in range(33)
        if np.array_equal(image[y : y + 224, x : x + 224], new)
    ]
    assert len(places) == 1


def test_windows_cut_on_the_device_are_those_cut_before():
    images = [random_image(seed=seed) for seed in range(8)]
    looks = [draw_look(GENTLE, seed) for seed in range(8)]
    expected = np.stack([cut_window(i, look, 224) for i, look in zip(images, looks, strict=True)])
    found = cut_windows(torch.from_numpy(np.stack(images)), torch.tensor(looks), 224)
    assert np.array_equal(found, expected)


def test_the_crop_moves_with_the_generator_and_is_never_flipped():
    image = random_image()
    held_out = augment(image, EVERYTHING, GENTLE, 64, seed=None).astype(int)
    for seed in range(5):
        new = augment(image, EVERYTHING, GENTLE, 64, seed).astype(int)
        assert np.abs(new - held_out).mean() > 2
        assert np.abs(new - held_out).mean() < np.abs(new[:, ::-1] - held_out).mean()


def test_held_out_images_are_central_and_unchanged():
    image = random_image()
    new = augment(image, EVERYTHING, AugmentConfig(), 224, seed=None)
    assert np.array_equal(new, image[16:240, 16:240])


def test_jitter_stays_in_range_and_differs():
    image = np.full((256, 256, 3), 100, np.uint8)
    values = [
        augment(image, EVERYTHING, AugmentConfig(), 64, seed)[0, 0].max() for seed in range(200)
    ]
    assert 55 < np.min(values) < 70 and 130 < np.max(values) < 145  # 100 x 0.6 .. 100 x 1.4


@pytest.mark.parametrize("px", [128, 192, 256])
def test_foreground_stays_with_the_image(px):
    cells = np.zeros((32, 32), np.uint8)
    cells[5:20, 8:15] = 255
    image = cv2.resize(cells, (px, px), interpolation=cv2.INTER_NEAREST)[:, :, None].repeat(3, 2)
    for seed in range(5):
        look = draw_look(GENTLE, seed)
        new = cut_window(image, look, 64)
        means = new[:, :, 0].reshape(8, 8, 8, 8).mean((1, 3)) / 255
        np.testing.assert_allclose(resample(cells / 255, look, 8), means, atol=0.08)


def test_keypoints_stay_with_the_image():
    image = np.zeros((256, 256, 3), np.uint8)
    image[100:104, 160:164] = 255  # around (162, 102)
    keypoints = np.zeros((NUM_BODY_KEYPOINTS, 3), np.float32)
    keypoints[3] = 162 / 256, 102 / 256, 0.8
    keypoints[5] = 0.01, 0.5, 0.9  # outside every window below
    for seed in range(5):
        look = draw_look(GENTLE, seed)
        look = look._replace(left=max(look.left, 0.02))
        placed = move_keypoints(keypoints[None], np.array([look]))[0]
        rows, columns = np.nonzero(cut_window(image, look, 224)[:, :, 0] > 100)
        found = (columns.mean() + 0.5) / 224, (rows.mean() + 0.5) / 224
        np.testing.assert_allclose(placed[3, :2], found, atol=0.004)
        assert placed[3, 2] == np.float32(0.8)
        assert not placed[5].any()


def test_hand_keypoints_have_places_of_their_own():
    numbers = np.arange(NUM_BODY_KEYPOINTS + NUM_HAND_KEYPOINTS)
    body, hand = (numbers[keypoint_places(count)] for count in (17, 21))
    assert list(body) == list(range(17)) and list(hand) == list(range(17, 38))
    with pytest.raises(ValueError, match="5 keypoints"):
        keypoint_places(5)


def test_grey_replaces_the_background_only():
    cells = np.zeros((32, 32), np.uint8)
    cells[:, :16] = 255
    config = AugmentConfig(jitter=0.0, background="grey")
    greys = []
    for seed in range(6):
        new = augment(random_image(), cells, config, 64, seed)
        right = new[:, 42:]
        assert right.min() == right.max()
        greys.append(int(right.min()))
        assert new[:, :20].std() > 10
    assert len(set(greys)) > 3
    held_out = augment(random_image(), cells, config, 64, None)
    assert set(np.unique(held_out[:, 42:])) == {128}


def test_opacity_equals_opencv():
    cells = (np.random.default_rng(0).random((32, 32)) * 255).astype(np.uint8)
    look = window(0.05, 0.1, 0.8)
    scale = look.side * 32 / 64  # cells per pixel
    offset = np.array([look.left, look.top]) * 32 + scale / 2 - 0.5
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    share = cv2.warpAffine(
        cells.astype(np.float32) / 255, matrix, (64, 64),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    slow = (4 * (share - 0.5) + 0.5).clip(0, 1)
    new = cut_out(torch.from_numpy(cells)[None], torch.tensor([look[:3]]), 64)[0, 0]
    np.testing.assert_allclose(new, slow, atol=0.05)  # OpenCV rounds to 1/32 of a cell


def test_an_image_of_nobody_becomes_grey():
    config = AugmentConfig(background="grey")
    new = augment(random_image(), NOBODY, config, 64, 0)
    assert new.min() == new.max()


def test_normalization_is_imagenets():
    images = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    looks = torch.tensor([window(0.0, 0.0, 1.0)] * 2)
    new = finish_images(images, looks, torch.from_numpy(np.stack([EVERYTHING] * 2)), 8, "keep")
    assert new.shape == (2, 3, 8, 8)
    expected = (images[1, 2, 3, 0].item() / 255 - 0.485) / 0.229
    assert new[1, 0, 2, 3].item() == pytest.approx(expected, abs=1e-5)
    assert torch.equal(to_pixels(new), images)


def test_impossible_augmentation_is_refused():
    with pytest.raises(ValueError, match="crop_share"):
        AugmentConfig(crop_share=1.5)
