"""Augmentation against slow versions, and the foreground stays with the image."""

import cv2
import numpy as np
import pytest
import torch

from training.loading.augment import (
    AugmentConfig,
    Window,
    augment_image,
    jitter_colour,
    normalize_images,
    resample_shares,
)


def random_image(px: int = 256, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return cv2.resize(small, (px, px), interpolation=cv2.INTER_CUBIC)


EVERYTHING = np.full((32, 32), 255, np.uint8)
NOBODY = np.zeros((32, 32), np.uint8)


@pytest.mark.parametrize("size", [8, 14, 64])
def test_shares_are_area_averages(size):
    cells = np.random.default_rng(0).random((32, 32))
    window = Window(left=0.0371, top=0.1113, side=0.875)
    fine = 200  # sample points along each side of each part
    points = (np.arange(size * fine) + 0.5) / (size * fine) * window.side
    rows = np.floor((window.top + points) * 32).astype(int)
    columns = np.floor((window.left + points) * 32).astype(int)
    slow = cells[np.ix_(rows, columns)].reshape(size, fine, size, fine).mean((1, 3))
    np.testing.assert_allclose(resample_shares(cells, window, size), slow, atol=6e-3)


def test_jitter_equals_three_steps():
    image = random_image().astype(np.float32) / 255
    luma = np.array([0.299, 0.587, 0.114])
    slow = image * 1.2
    slow = (slow @ luma).mean() * (1 - 0.7) + slow * 0.7
    slow = (slow @ luma)[:, :, None] * (1 - 1.3) + slow * 1.3
    np.testing.assert_allclose(jitter_colour(image, 1.2, 0.7, 1.3), slow, atol=1e-5)


def test_published_crop_is_224_of_256_pixels_untouched():
    image = random_image()
    config = AugmentConfig(jitter=0.0)
    new, _ = augment_image(image, EVERYTHING, config, 224, 14, np.random.default_rng(0))
    places = [
        (y, x)
        for y in range(33)
        for x in range(33)
        if np.array_equal(image[y : y + 224, x : x + 224], new)
    ]
    assert len(places) == 1


def test_the_crop_moves_with_the_generator_and_is_never_flipped():
    image = random_image()
    centre = None
    for seed in range(5):
        config = AugmentConfig(jitter=0.0)
        new, _ = augment_image(image, EVERYTHING, config, 64, 8, np.random.default_rng(seed))
        held_out, _ = augment_image(image, EVERYTHING, config, 64, 8, None)
        centre = held_out if centre is None else centre
        assert np.array_equal(centre, held_out)
        assert np.abs(new.astype(int) - held_out).mean() > 2
        flipped = np.abs(new[:, ::-1].astype(int) - held_out).mean()
        assert np.abs(new.astype(int) - held_out).mean() < flipped


def test_jitter_stays_in_range_and_differs():
    image = np.full((256, 256, 3), 100, np.uint8)
    values = [
        augment_image(image, EVERYTHING, AugmentConfig(), 64, 8, np.random.default_rng(seed))[0][
            0, 0
        ]
        for seed in range(200)
    ]
    assert 55 < np.min(values) < 70 and 130 < np.max(values) < 145  # 100 x 0.6 .. 100 x 1.4


@pytest.mark.parametrize("px", [128, 192, 256])
def test_foreground_stays_with_the_image(px):
    cells = np.zeros((32, 32), np.uint8)
    cells[5:20, 8:15] = 255
    image = cv2.resize(cells, (px, px), interpolation=cv2.INTER_NEAREST)[:, :, None].repeat(3, 2)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        new, shares = augment_image(image, cells, AugmentConfig(jitter=0.0), 64, 8, rng)
        means = new[:, :, 0].reshape(8, 8, 8, 8).mean((1, 3)) / 255
        np.testing.assert_allclose(shares, means, atol=0.08)


def test_grey_replaces_the_background_only():
    cells = np.zeros((32, 32), np.uint8)
    cells[:, :16] = 255
    config = AugmentConfig(jitter=0.0, background="grey")
    greys = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        new, _ = augment_image(random_image(), cells, config, 64, 8, rng)
        right = new[:, 40:]
        assert right.min() == right.max()
        greys.append(int(right.min()))
        assert new[:, :20].std() > 10
    assert len(set(greys)) > 3
    held_out, _ = augment_image(random_image(), cells, config, 64, 8, None)
    assert set(np.unique(held_out[:, 40:])) == {128}


def test_an_image_of_nobody_becomes_grey():
    config = AugmentConfig(background="grey")
    new, shares = augment_image(random_image(), NOBODY, config, 64, 8, np.random.default_rng(0))
    assert new.min() == new.max() and shares.max() == 0


def test_normalization_is_imagenets():
    images = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    new = normalize_images(images)
    assert new.shape == (2, 3, 8, 8)
    expected = (images[1, 2, 3, 0].item() / 255 - 0.485) / 0.229
    assert new[1, 0, 2, 3].item() == pytest.approx(expected, abs=1e-5)
