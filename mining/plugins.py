"""What other packages add by entry points."""

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any


def plugin_names(group: str) -> list[str]:
    """The names that other packages make known in a group of entry points."""
    return [entry.name for entry in entry_points(group=group)]


def find_plugin(group: str, name: str, unknown: str, ours: Sequence[str]) -> Any:
    """What another package makes known by a name.

    Raises ValueError, in one sentence, where it cannot be imported; and where there is none, which
    begins with `unknown` and names `ours` and those there are.
    """
    for entry in entry_points(group=group, name=name):
        try:
            return entry.load()
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"{entry.name!r} of {entry.group} cannot be loaded from {entry.value} ({error}): "
                "mend or uninstall the package that brings it"
            ) from error
    raise ValueError(f"{unknown}; there are: {', '.join([*ours, *plugin_names(group)])}")
