"""Versions of Python and of the packages that shape the results, for the records of runs."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "av",
    "decord",
    "duckdb",
    "numpy",
    "opencv-python",
    "pyarrow",
    "ray",
    "torch",
    "ultralytics",
    "webdataset",
)


def package_versions() -> dict[str, str]:
    """Version by name, of those that are installed."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
