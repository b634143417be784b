"""`presets`: the ready-made configs."""

import argparse

from catalog.commands import UsageError, add_command
from catalog.settings import as_lines, chapter, list_settings, section
from training.commands.arguments import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "presets",
        run_presets,
        "list the ready-made configs, or show one with the meaning of every value",
        "python -m training presets tiny --method siammae",
    )
    parser.add_argument("name", nargs="?", help="show every value of this one, ready for --set")
    parser.add_argument("--method", default="both", help="of pre-training (default: %(default)s)")
    parser.add_argument("--task", help="show the config of fine-tuning for this task instead")
    parser.add_argument(
        "--format", choices=("lines", "markdown"), default="lines",
        help="markdown: every setting with its default and meaning, as in docs/settings.md",
    )  # fmt: skip


def run_presets(options: argparse.Namespace) -> int:
    """List presets, methods and tasks, print a preset as `section.key = value` lines, or all
    settings as Markdown.
    """
    from training.finetuning.config import make_config
    from training.presets import METHODS, PRESETS, compose
    from training.tasks.registry import TASKS

    if options.format == "markdown":
        if options.name or options.task:
            raise UsageError("--format markdown shows all settings: leave the preset and task out")
        print(_reference())
        return 0
    if options.name is None:
        for title, known in (("presets", PRESETS), ("methods", METHODS)):
            print(f"{title}:")
            for name, function in known.items():
                print(f"  {name:16}{(function.__doc__ or '').splitlines()[0]}")
        print(f"tasks of fine-tuning, for the presets tiny, small and base:\n  {', '.join(TASKS)}")
        return 0
    config = make_config(options.task, options.name) if options.task else None
    print(as_lines(list_settings(config or compose(options.name, options.method))))
    return 0


def _reference() -> str:
    """The chapters of docs/settings.md on training; presets give some settings other values."""
    from training.finetuning.config import FinetuneConfig
    from training.run_config import PretrainConfig
    from training.tasks.registry import TASKS, task_config

    of_tasks: dict[object, list[str]] = {}  # tasks by their config: some have the same
    for name in TASKS:
        of_tasks.setdefault(task_config(name, "base"), []).append(name)
    finetuning = FinetuneConfig(task_name="", task=None)
    as_above = ("task_name", "task", "init", "optimizer", "run")
    return "\n".join(
        [
            chapter("Pre-training", PretrainConfig()),
            chapter("Fine-tuning (init, optimizer and run are as above)", finetuning, as_above),
            *(
                section(f"task of {' and '.join(names)}, preset base", config, "task")
                for config, names in of_tasks.items()
            ),
        ]
    ).rstrip()
