"""`export`: write a checkpoint for others."""

import argparse

from catalog.commands import add_command
from training.commands.arguments import Commands, add_checkpoint


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "export",
        run_export,
        "write a checkpoint for others: for timm, in CroCo's published layout, with a model card",
        "python -m training export --checkpoint data/training/tiny --out tiny-encoder",
    )
    add_checkpoint(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="new folder for the files")
    parser.add_argument(
        "--layout",
        choices=("timm", "published", "all"),
        default="all",
        help="the encoder alone, CroCo's layout, or both and the whole model (default: all)",
    )


def run_export(options: argparse.Namespace) -> int:
    """Export a checkpoint, then say what was written."""
    from training.export import export

    names = export(options.checkpoint, options.out, options.layout, options.average)
    print(f"wrote {', '.join(names)} to {options.out}")
    return 0
