"""The shape of the code: imports run one way, and heavy packages are imported in one place each."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGES = ("catalog", "mining", "shards", "training")
ALLOWED = {
    "catalog": {"catalog"},
    "shards": {"shards", "catalog"},
    "mining": {"mining", "catalog"},
    "training": {"training", "shards", "catalog"},
}
# What a labelled sample is: mining writes it, shards carry it, training reads it. Plain numpy.
SHARED = "shards.labels"
# The command that finds people for a model is where both packages meet. The import is inside a
# function: with boxes given, and for all else of training, mining need not be there.
MEETING = ("training/commands/predict.py", "mining")
ONE_HOME = {
    "ray": "mining/executor.py",
    "ultralytics": "mining/detecting/yolo.py",
    "ai_edge_litert": "mining/detecting/hand_model.py",
    "decord": "mining/decoding/decoders.py",
    "duckdb": "catalog/query.py",
}


@cache
def imports() -> list[tuple[str, str, bool]]:
    """Every import: the file, the package imported, and whether it is for type checking alone."""
    found = []
    for package in PACKAGES:
        for path in sorted(Path(package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            typing_only = {
                id(inner)
                for node in ast.walk(tree)
                if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
                for inner in ast.walk(node)
            }
            for node in ast.walk(tree):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                for name in names:
                    if name == SHARED and package == "mining":
                        continue
                    found.append((str(path), name.split(".")[0], id(node) in typing_only))
    return found


def test_imports_run_mining_to_catalog_and_training_to_shards_to_catalog() -> None:
    for path, imported, _ in imports():
        if imported in PACKAGES and (path, imported) != MEETING:
            assert imported in ALLOWED[path.split("/")[0]], f"{path} imports {imported}"


def test_predict_imports_mining_inside_a_function_only() -> None:
    path, package = MEETING
    top = [node for node in ast.parse(Path(path).read_text()).body if "import" in ast.dump(node)]
    names = [ast.dump(node) for node in top if isinstance(node, ast.Import | ast.ImportFrom)]
    assert (path, package, False) in imports() and not any(package in name for name in names)


@pytest.mark.parametrize("package", ONE_HOME)
def test_heavy_packages_are_imported_in_one_module(package: str) -> None:
    homes = {
        path for path, imported, typing_only in imports() if imported == package and not typing_only
    }
    assert homes == {ONE_HOME[package]}


def test_training_runs_without_the_packages_of_mining() -> None:
    code = """
import importlib.abc, sys
ABSENT = {"ray", "duckdb", "pyarrow", "ultralytics", "decord", "av", "anny", "warp"}
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import pkgutil, training
for module in pkgutil.walk_packages(training.__path__, "training."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import training.__main__
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
