"""Where downloads and renders that can be made again are kept: `$CROSSPAIRS_CACHE`, default
`~/.cache/crosspairs`.
"""

import os
from pathlib import Path


def cache_path(*names: str) -> Path:
    """A place below the cache, which need not be there."""
    base = os.environ.get("CROSSPAIRS_CACHE") or Path.home() / ".cache" / "crosspairs"
    return Path(base).joinpath(*names)


def cache_folder(*names: str) -> Path:
    """A folder below the cache, created when missing."""
    folder = cache_path(*names)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
