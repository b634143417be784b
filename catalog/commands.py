"""What the command lines of all packages share: how an error reaches the user."""

import argparse
import os
import sys
from collections.abc import Callable

from catalog.object_store import explain

DEFAULT_ROOT = os.environ.get("CROSSPAIRS_ROOT", "data")


class UsageError(ValueError):
    """A command line that asks for nothing: one sentence, and exit code 2."""


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    example: str,
) -> argparse.ArgumentParser:
    """Add a subcommand with its one-line summary and an example; `run` returns the exit code."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"Example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def main(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> int:
    """Run the chosen subcommand.

    A user's mistake (ValueError, a missing file) is one sentence and exit code 1, for a UsageError
    2; so is what an object store refuses, also where its client raises errors of its own.
    """
    arguments = parser.parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        sys.stderr.write(f"{parser.prog}: stopped; run the same command again to go on\n")
        return 130
    except Exception as error:  # a store's client has its own errors, known by their names
        plain = error if isinstance(error, ValueError | OSError) else explain(error)
        if plain is None:
            raise
        sys.stderr.write(f"{parser.prog}: {' '.join(str(plain).split())}\n")
        return 2 if isinstance(error, UsageError) else 1
