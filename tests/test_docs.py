"""The documentation says what the code does: commands parse, links lead somewhere."""

import re
import shlex
import subprocess
from importlib import import_module
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser as launcher_parser

PAGES = [Path("README.md"), *sorted(Path("docs").glob("*.md"))]


def commands(start: str) -> list[str]:
    """The command lines of all pages that begin like this; a backslash goes on in the next line."""
    return sorted(
        {
            match.strip().rstrip("`.,;:)")
            for page in PAGES
            for match in re.findall(rf"{start} [^`\n#]+", re.sub(r"\\\n\s*", "", page.read_text()))
        }
    )


@pytest.mark.parametrize("command", commands("-m (?:catalog|mining|shards|training)"))
def test_every_command_line_in_the_documentation_parses(command: str) -> None:
    _, package, *arguments = shlex.split(re.sub(r" >>? \S+$", "", command))
    import_module(f"{package}.__main__").build_parser().parse_args(arguments)


@pytest.mark.parametrize("command", commands("torchrun"))
def test_every_start_of_ranks_in_the_documentation_parses(command: str) -> None:
    _, *arguments = shlex.split(command)
    launcher_parser().parse_args([*arguments, "script"])  # a script, where the page names none


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page} links to {target}"


def test_every_make_target_named_exists_and_has_its_line_of_help() -> None:
    listed = subprocess.run(["make", "help"], capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"make ([a-z-]+) ", listed))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z-]+)", page.read_text()))
        assert named <= targets, f"{page} names {named - targets}"


def test_every_file_named_in_the_path_of_a_sample_exists() -> None:
    text = Path("docs/path-of-a-sample.md").read_text()
    for name in re.findall(r"(?:mining|catalog|shards|training)/[\w/]+\.py", text):
        assert Path(name).exists(), name


def test_the_pinned_requirements_hold_names_versions_and_hashes_but_no_address() -> None:
    text = Path("requirements.txt").read_text()
    assert "torch==" in text and "--hash=sha256:" in text
    assert "://" not in text and "index-url" not in text
