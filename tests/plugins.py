"""Installs a module with entry points into a folder, as pip would: for tests of what others can
add.
"""

from pathlib import Path


def install_plugin(folder: Path, module: str, code: str, entry_points: str) -> Path:
    """Write `module`.py and the metadata that makes its entry points known; returns the folder for
    PYTHONPATH.
    """
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / f"{module}.py").write_text(code)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)
    return folder
