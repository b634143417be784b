"""What a model said of people, drawn over the image they are in: meshes, keypoints, dense maps, or
what a hand says. What is in an answer tells how it is drawn.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from catalog.keypoints import NUM_BODY_KEYPOINTS
from training.loading.placed import Bytes, Floats
from training.mesh_pictures import draw_mesh
from training.tasks.dense_pictures import part_colours
from training.tasks.skeletons import BODY_LINES, FAINT, HAND_LINES

if TYPE_CHECKING:
    from training.prediction.predictor import Person

# One after the other for people: far apart in hue, light enough for the shading to show.
COLOURS = (
    (90, 160, 255), (255, 150, 70), (110, 210, 120), (225, 110, 200), (240, 215, 80),
    (90, 215, 215), (165, 130, 255), (255, 125, 125),
)  # fmt: skip
MAP_OPACITY = 0.65
MOST_CLASSES = 3  # that are written
FONT = cv2.FONT_HERSHEY_SIMPLEX

Colour = tuple[int, int, int]


def draw_answers(image: Bytes, people: Sequence["Person"], colours: Sequence[Colour]) -> Bytes:
    """The RGB image with all people's answers on it, the furthest first."""
    picture = np.array(image)
    order = sorted(range(len(people)), key=lambda row: _nearness(people[row]))
    for row in order:
        picture = _draw(picture, people[row], colours[row])
    return picture


def colour_of(number: int) -> Colour:
    """The colour of a person by number."""
    return COLOURS[number % len(COLOURS)]


def _nearness(person: "Person") -> float:
    """What orders people from far to near: the depth of their mesh, else how low their box ends."""
    if "vertices_m" in person.answer:
        return -float(np.asarray(person.answer["vertices_m"])[:, 2].mean())
    return float(person.box_px[3])


def _draw(picture: Bytes, person: "Person", colour: Colour) -> Bytes:
    answer = person.answer
    if "vertices_m" in answer:
        camera = person.pixels_from_cam
        picture = draw_mesh(picture, answer["vertices_m"], answer["faces"], camera, colour)
    if "iuv" in answer:
        picture = _draw_map(picture, answer["iuv"])
    if "keypoints_px" in answer:
        _draw_keypoints(picture, np.asarray(answer["keypoints_px"]), colour)
    if "probabilities" in answer:
        _write(picture, person, answer["probabilities"], colour)
    return picture


def _draw_map(picture: Bytes, iuv: Bytes) -> Bytes:
    """Parts in colours of their own, brighter where u and v are larger."""
    shown = iuv[..., 0] > 0
    parts = iuv[shown, 0]
    brightness = 0.6 + 0.4 * iuv[shown, 1:].mean(axis=1, keepdims=True) / 255
    colours = part_colours(int(parts.max(initial=0)))[parts] * brightness
    mixed = picture.copy()
    mixed[shown] = np.round((1 - MAP_OPACITY) * picture[shown] + MAP_OPACITY * colours)
    return mixed


def _draw_keypoints(picture: Bytes, keypoints_px: Floats, colour: Colour) -> None:
    lines = BODY_LINES if len(keypoints_px) == NUM_BODY_KEYPOINTS else HAND_LINES
    shown = keypoints_px[:, 2] >= FAINT
    places = [tuple(map(int, place)) for place in np.floor(keypoints_px[:, :2])]
    thick_px = max(1, round(np.ptp(keypoints_px[:, 1]) / 120))
    for start, end in lines:
        if shown[start] and shown[end]:
            cv2.line(picture, places[start], places[end], colour, thick_px, cv2.LINE_AA)
    for place in np.flatnonzero(shown):
        cv2.circle(picture, places[place], thick_px + 1, (255, 255, 255), -1, cv2.LINE_AA)


def _write(picture: Bytes, person: "Person", shares: dict[str, float], colour: Colour) -> None:
    """The box, and the likeliest classes above each other within it."""
    x0, y0, x1, y1 = np.round(person.box_px).astype(int).tolist()
    size = max(0.4, (x1 - x0) / 300)
    thick_px = max(1, round(size))
    cv2.rectangle(picture, (x0, y0), (x1, y1), colour, thick_px)
    for line, (name, share) in enumerate(list(shares.items())[:MOST_CLASSES], start=1):
        at = x0 + 4, y0 + round(26 * size * line)
        text = f"{name} {share:.0%}"
        cv2.putText(picture, text, at, FONT, size, (0, 0, 0), thick_px + 2, cv2.LINE_AA)
        cv2.putText(picture, text, at, FONT, size, colour, thick_px, cv2.LINE_AA)
