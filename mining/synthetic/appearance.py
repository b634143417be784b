"""What people wear and what is behind them: random, strongly coloured, and the same from every side
and at every time.
"""

import colorsys
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mining.synthetic.body_model import BodyModel
from mining.synthetic.kernels import (
    CHECKS,
    DOTS,
    NOISE,
    PLAID,
    PLAIN,
    STRIPES,
    Light,
    Look,
    Pattern,
)

Colour = tuple[float, float, float]  # RGB from 0 to 1

_SKINS = (
    (0.98, 0.84, 0.75),
    (0.93, 0.74, 0.62),
    (0.82, 0.61, 0.46),
    (0.62, 0.42, 0.29),
    (0.42, 0.27, 0.19),
)
_HAIRS = (
    (0.08, 0.06, 0.05),
    (0.22, 0.13, 0.08),
    (0.42, 0.26, 0.14),
    (0.78, 0.62, 0.36),
    (0.62, 0.6, 0.58),
    (0.55, 0.2, 0.1),
)


def vertex_attributes(model: BodyModel) -> NDArray[np.float32]:
    """(V, 2): metres along the arm from the shoulder (0 off the arms), and 1 on the eyeballs."""
    arm = np.zeros(len(model.reference_vertices))
    for side in ("L", "R"):
        path = np.stack(
            [
                model.bone_heads[model.bones.index(f"{bone}.{side}")]
                for bone in ("upperarm01", "lowerarm01", "wrist", "finger3-3")
            ]
        )
        parts = ("upperarm", "lowerarm", "wrist", "finger", "metacarpal")
        on_arm = [name.startswith(parts) and name.endswith(side) for name in model.bones]
        chosen = model.bone_weights[:, on_arm].sum(axis=1) > 0.4
        arm[chosen] = _along(path, model.reference_vertices[chosen])
    eyes = [name.startswith("eye.") for name in model.bones]
    return np.stack([arm, model.bone_weights[:, eyes].sum(axis=1) > 0.5], axis=1).astype(np.float32)


def _along(path: NDArray[np.float64], points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Arc length in metres of the nearest point of a polyline (S, 3) for each point (N, 3)."""
    best = np.full(len(points), np.inf)
    length = np.zeros(len(points))
    walked = 0.0
    for start, end in pairwise(path):
        way = end - start
        share = np.clip((points - start) @ way / (way @ way), 0.0, 1.0)
        distance = np.linalg.norm(points - start - share[:, None] * way, axis=1)
        nearer = distance < best
        length[nearer] = walked + share[nearer] * np.linalg.norm(way)
        best = np.minimum(best, distance)
        walked += float(np.linalg.norm(way))
    return length


def random_look(rng: np.random.Generator) -> tuple[Look, list[Pattern]]:
    """Draw one person's colours and clothes: the Look, and the patterns of shirt, sleeves, trousers
    and shoes.
    """
    look = Look()
    look.skin = _tinted(
        rng, np.array(_SKINS[rng.integers(len(_SKINS))]) * rng.uniform(0.85, 1.05), 0.012
    )
    look.hair = _tinted(rng, _HAIRS[rng.integers(len(_HAIRS))], 0.025)
    look.lips = tuple(np.array(look.skin) * (0.85, 0.5, 0.5))
    look.iris = _tinted(rng, (0.2, 0.2, 0.2), 0.12)
    look.hairline = float(rng.uniform(0.585, 0.61)) if rng.random() > 0.06 else 1.0
    look.hair_slope = float(rng.uniform(0.7, 0.92))
    look.hair_back = float(rng.choice([0.57, 0.5, 0.4]))
    look.collar = float(rng.uniform(0.43, 0.49))
    look.sleeve = float(rng.choice([0.03, 0.12, 0.2, 0.34, 0.49, 0.5]))
    look.other_sleeve = look.sleeve if rng.random() < 0.85 else float(rng.choice([0.12, 0.34, 0.5]))
    look.waist = float(rng.uniform(0.0, 0.12))
    look.trouser_hem = float(rng.choice([-0.25, -0.42, -0.62, -0.8, -0.8, -0.8]))
    look.shoe_top = float(rng.choice([-0.8, -0.79, -0.7]))
    look.emblem_radius = float(rng.uniform(0.04, 0.09)) if rng.random() < 0.5 else 0.0
    look.emblem_x = float(rng.uniform(-0.06, 0.06))
    look.emblem_z = float(rng.uniform(0.22, 0.36))

    hues = (rng.random() + np.array([0.0, rng.uniform(0.2, 0.5), rng.uniform(0.5, 0.8)])) % 1.0
    look.emblem = _cloth(rng, float(hues[2]))
    shirt = random_pattern(rng, _cloth(rng, float(hues[0])), 5.0, 16.0)
    trousers = random_pattern(rng, _cloth(rng, float(hues[1])), 5.0, 14.0)
    sleeves = (
        shirt if rng.random() < 0.6 else random_pattern(rng, _cloth(rng, float(hues[2])), 6.0, 16.0)
    )
    shoes = random_pattern(rng, _cloth(rng, float(rng.random())), 10.0, 25.0)
    if rng.random() < 0.2:  # a dress or an overall: one cloth from collar to hem
        trousers = shirt
    return look, [shirt, sleeves, trousers, shoes]


def random_pattern(
    rng: np.random.Generator, main: Colour, lowest_per_m: float, highest_per_m: float
) -> Pattern:
    """Draw a pattern on a main colour, its repeats per metre between the two bounds."""
    pattern = Pattern()
    pattern.kind = int(
        rng.choice(
            [PLAIN, STRIPES, CHECKS, DOTS, NOISE, PLAID], p=[0.16, 0.24, 0.16, 0.16, 0.14, 0.14]
        )
    )
    angle = float(rng.choice([0.0, np.pi / 2, np.pi / 4, rng.uniform(0, np.pi)]))
    per_m = float(rng.uniform(lowest_per_m, highest_per_m))
    right, up = np.array([0.8, 0.6, 0.0]), np.array([0.0, 0.0, 1.0])
    axis_u = (np.sin(angle) * right + np.cos(angle) * up) * per_m
    axis_v = (np.cos(angle) * right - np.sin(angle) * up) * per_m
    pattern.axis_u, pattern.axis_v = tuple(axis_u), tuple(axis_v)
    pattern.duty = float(rng.uniform(0.25, 0.6))
    pattern.colour_a = main
    pattern.colour_b = _contrasting(rng, main)
    pattern.colour_c = _contrasting(rng, main)
    return pattern


def random_light(rng: np.random.Generator) -> Light:
    """Draw a light from above and any side."""
    azimuth, height = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(25, 75))
    light = Light()
    aside = np.cos(height)
    light.direction = (
        float(np.cos(azimuth) * aside),
        float(np.sin(azimuth) * aside),
        float(np.sin(height)),
    )
    light.ambient = float(rng.uniform(0.45, 0.62))
    light.strength = float(rng.uniform(0.4, 0.65))
    light.tint = tuple(rng.uniform(0.88, 1.06, 3).tolist())
    return light


def random_wall(rng: np.random.Generator, width_px: int, height_px: int) -> NDArray[np.float32]:
    """A smooth random wall (H, W, 3): a gradient, three octaves of noise, and a few soft-edged
    panels.
    """
    first, second = (_cloth(rng, float(rng.random()), 0.6) for _ in range(2))
    wall = np.zeros((height_px, width_px, 3), np.float32)
    for cells, strength in ((3, 0.32), (7, 0.16), (18, 0.07)):
        grid = rng.normal(scale=strength, size=(cells, cells, 3)).astype(np.float32)
        grid = grid * 0.35 + grid.mean(axis=2, keepdims=True)
        wall += cv2.resize(grid, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    wall *= np.float32(rng.uniform(0.2, 0.9))
    share = np.linspace(0.0, 1.0, height_px, dtype=np.float32)[:, None, None]
    wall += np.array(first, np.float32) * (1.0 - share) + np.array(second, np.float32) * share
    for _ in range(int(rng.integers(0, 5))):
        x0, y0 = rng.uniform(-0.2, 0.9, 2) * (width_px, height_px)
        size = rng.uniform(0.08, 0.4, 2) * (width_px, height_px)
        panel = np.array(
            [[x0, y0], [x0 + size[0], y0], [x0 + size[0], y0 + size[1]], [x0, y0 + size[1]]]
        )
        panel += rng.normal(scale=0.03 * width_px, size=(4, 2))
        cv2.fillConvexPoly(
            wall, panel.round().astype(np.int32), _cloth(rng, float(rng.random()), 0.7)
        )
    return np.clip(wall, 0.02, 1.0)


def random_floor(rng: np.random.Generator) -> tuple[Pattern, float]:
    """A floor's pattern in world axes, and how much of it shows: 0 where the wall goes on below."""
    colour = _cloth(rng, float(rng.random()), 0.5)
    pattern = random_pattern(rng, colour, 1.2, 3.5)
    turn = rng.uniform(0, np.pi)
    per_m = float(rng.uniform(1.2, 3.5))
    pattern.axis_u = (float(np.cos(turn) * per_m), float(np.sin(turn) * per_m), 0.0)
    pattern.axis_v = (float(-np.sin(turn) * per_m), float(np.cos(turn) * per_m), 0.0)
    pattern.colour_b = _tinted(rng, colour, 0.2)
    pattern.colour_c = _tinted(rng, colour, 0.2)
    return pattern, float(rng.uniform(0.6, 1.0)) if rng.random() < 0.75 else 0.0


def _cloth(rng: np.random.Generator, hue: float, most_saturated: float = 1.0) -> Colour:
    saturation = float(rng.beta(3.0, 1.4)) * most_saturated
    return colorsys.hsv_to_rgb(hue, saturation, float(rng.uniform(0.3, 1.0)))


def _contrasting(rng: np.random.Generator, colour: Colour) -> Colour:
    hue, _, value = colorsys.rgb_to_hsv(*colour)
    if rng.random() < 0.35:
        shade = float(rng.uniform(0.85, 1.0)) if value < 0.6 else float(rng.uniform(0.05, 0.2))
        return shade, shade, shade
    far = (hue + rng.uniform(0.25, 0.75)) % 1.0
    return colorsys.hsv_to_rgb(far, float(rng.uniform(0.5, 1.0)), float(rng.uniform(0.3, 1.0)))


def _tinted(rng: np.random.Generator, colour: Any, scale: float) -> Colour:
    red, green, blue = np.clip(
        np.array(colour) + rng.normal(scale=scale, size=3), 0.02, 1.0
    ).tolist()
    return red, green, blue
