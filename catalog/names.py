"""The name of a dataset in the catalog, from what the user writes after DATASET=."""

import re
import tomllib
from pathlib import Path


def dataset_name(text: str) -> str:
    """A dataset's name: that of its file or folder, or the one its dataset file (TOML) gives.

    Raises ValueError for a dataset file that is not TOML. What is no path is taken as a name.
    """
    path = Path(text).expanduser()
    if path.suffix == ".toml" and path.is_file():
        return slug(str(read_dataset_file(path).get("name", path.stem)))
    if not path.exists():
        return slug(text)
    path = path.resolve()
    return slug(path.stem if path.is_file() else path.name)


def read_dataset_file(path: Path) -> dict[str, object]:
    """The tables of a dataset file. Raises ValueError when it is not TOML."""
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"dataset file {path.name} is not TOML: {error}") from None


def slug(name: str) -> str:
    """A name that can stand in file names and URLs: lower case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "dataset"
