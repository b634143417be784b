"""What other packages add by entry points."""

from importlib.metadata import EntryPoint
from typing import Any


def load_plugin(entry: EntryPoint) -> Any:
    """What an entry point names. Raises ValueError, in one sentence, when it cannot be imported."""
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{entry.name!r} of {entry.group} cannot be loaded from {entry.value} ({error}): mend "
            "or uninstall the package that brings it"
        ) from error
