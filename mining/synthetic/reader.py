"""Reads synthetic views: the uri holds the whole config, the capture's index and the view's, so no
file is needed.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from catalog.config import override_from_table, to_dict
from mining.sources.base import Detection, Frame, PartGroup, ViewInfo
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.plan import Plan

if TYPE_CHECKING:
    from mining.synthetic.scene import Scene

PREFIX = "synthetic:"
PART_GROUPS: tuple[PartGroup, ...] = ("body", "hands")
CACHED_SCENES = 4  # the views of one capture are read one after the other


class SyntheticReader:
    """Implements `mining.sources.base.Reader` for uris made by `view_uri`."""

    def probe(self, uri: str) -> ViewInfo:
        """Tell size, rate and length without rendering. Raises ValueError for a uri that says
        nothing renderable.
        """
        config, capture, view, _ = parse_uri(uri)
        clock = _plan(config, capture).clocks[view]
        return ViewInfo(
            width_px=config.width_px,
            height_px=config.height_px,
            fps=clock.fps,
            num_frames=len(clock.times_s),
        )

    def frames(self, uri: str, times_s: Sequence[float]) -> Iterator[Frame]:
        """Render the frame nearest to each time, each once. Raises ValueError for a uri that says
        nothing renderable.
        """
        config, capture, view, annotated = parse_uri(uri)
        scene = _scene(config, capture)
        own_times_s = scene.clocks[view].times_s - scene.clocks[view].offset_s
        nearest = np.abs(np.asarray(times_s)[:, None] - own_times_s).argmin(axis=1)
        for index in dict.fromkeys(nearest.tolist()):
            image, people = scene.render(view, index)
            yield Frame(
                index=index,
                time_s=float(own_times_s[index]),
                image=image,
                people=given(people, annotated) if annotated else None,
            )


def given(people: Sequence[Detection], annotated: Sequence[PartGroup]) -> tuple[Detection, ...]:
    """The annotations of the wanted groups; hands without bodies do not say whose they are."""
    if "body" in annotated:
        return tuple(one for one in people if one.part == "body" or "hands" in annotated)
    return tuple(replace(one, body=None, identity=None) for one in people if one.part != "body")


def view_uri(
    config: SyntheticConfig,
    capture: int,
    view: int,
    annotated: Sequence[PartGroup] = ("body", "hands"),
) -> str:
    """Write a view as text: `synthetic:` and canonical JSON. Frames carry the `annotated` groups,
    and `people` None where there are none.
    """
    table = {
        "annotated": list(annotated),
        "capture": capture,
        "config": to_dict(config),
        "view": view,
    }
    return PREFIX + json.dumps(table, sort_keys=True, separators=(",", ":"))


def capture_uri(config: SyntheticConfig, capture: int) -> str:
    """Write a whole capture as text; nothing reads it, it names what the views share."""
    return PREFIX + json.dumps(
        {"capture": capture, "config": to_dict(config)}, sort_keys=True, separators=(",", ":")
    )


def parse_uri(uri: str) -> tuple[SyntheticConfig, int, int, tuple[PartGroup, ...]]:
    """Read config, capture index, view index and `annotated` back. Raises ValueError, in one
    sentence, for other text.
    """
    try:
        if not uri.startswith(PREFIX):
            raise ValueError(f"it does not begin with {PREFIX!r}")
        table = json.loads(uri.removeprefix(PREFIX))
        wanted = {"annotated": list, "capture": int, "config": dict, "view": int}
        if (
            not isinstance(table, dict)
            or {key: type(value) for key, value in table.items()} != wanted
        ):
            raise ValueError(f"it needs exactly {', '.join(wanted)}")
        annotated = tuple(group for group in PART_GROUPS if group in table["annotated"])
        if list(annotated) != table["annotated"]:
            raise ValueError(f"annotated must be among {', '.join(PART_GROUPS)}, in this order")
        config = override_from_table(SyntheticConfig(), table["config"])
        config.check()
        if table["capture"] < 0 or not 0 <= table["view"] < config.num_views:
            raise ValueError(
                f"capture {table['capture']}, view {table['view']} of {config.num_views}, "
                "counted from 0"
            )
    except ValueError as error:
        raise ValueError(f"not a synthetic view: {uri[:80]!r}: {error}") from None
    return config, table["capture"], table["view"], annotated


@lru_cache(maxsize=CACHED_SCENES)
def _plan(config: SyntheticConfig, capture: int) -> Plan:
    return Plan(config, capture)


@lru_cache(maxsize=CACHED_SCENES)
def _scene(config: SyntheticConfig, capture: int) -> "Scene":
    from mining.synthetic.scene import Scene

    return Scene(config, capture)
