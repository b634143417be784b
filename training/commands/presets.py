"""`presets`: the ready-made configs."""

import argparse

from catalog.commands import add_command
from catalog.config import to_dict
from training.commands.arguments import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "presets",
        run_presets,
        "list the ready-made configs, or show one",
        "python -m training presets tiny --method siammae",
    )
    parser.add_argument("name", nargs="?", help="show every value of this one, ready for --set")
    parser.add_argument("--method", default="both", help="of pre-training (default: %(default)s)")
    parser.add_argument("--task", help="show the config of fine-tuning for this task instead")


def run_presets(options: argparse.Namespace) -> int:
    """List presets, methods and tasks, or print a preset as `section.key = value` lines."""
    from training.finetuning.config import make_config
    from training.presets import METHODS, PRESETS, compose
    from training.tasks.registry import TASKS

    if options.name is None:
        for title, known in (("presets", PRESETS), ("methods", METHODS)):
            print(f"{title}:")
            for name, function in known.items():
                print(f"  {name:16}{(function.__doc__ or '').splitlines()[0]}")
        print(f"tasks of fine-tuning, for the presets tiny, small and base:\n  {', '.join(TASKS)}")
        return 0
    config = make_config(options.task, options.name) if options.task else None
    _print_values(to_dict(config or compose(options.name, options.method)))
    return 0


def _print_values(values: dict[str, object], prefix: str = "") -> None:
    for key, value in values.items():
        if isinstance(value, dict):
            _print_values(value, f"{prefix}{key}.")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            print(f"{prefix}{key} = {text}".rstrip())
