"""`python -m training`: pre-train on pairs, fine-tune on labels, judge and use what was trained."""

import argparse
import os
import sys

from catalog.commands import main
from training.commands import (
    bench,
    evaluate,
    export,
    finetune,
    predict,
    presets,
    pretrain,
    probe,
    study,
    study_pretrain,
)

# Threads that wait spin for a moment, then sleep: on idle cores as fast as spinning for long, on
# busy ones about twice as fast (docs/training.md has the figures). Read once, as torch starts.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

COMMANDS = (
    pretrain, finetune, evaluate, predict, probe, export, study, study_pretrain, bench,
    presets,
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """The command line of the package."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main(build_parser()))
