"""Where downloads and renders that can be made again are kept: `$CROSSPAIRS_CACHE`, default
`~/.cache/crosspairs`.
"""

import os
from pathlib import Path


def cache_folder(*names: str) -> Path:
    """A folder below the cache, created when missing."""
    base = os.environ.get("CROSSPAIRS_CACHE") or Path.home() / ".cache" / "crosspairs"
    folder = Path(base).joinpath(*names)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
