"""Every setting of a config with its value and its meaning: the comment at its field.

A field's comment stands behind it, or in lines above it; both are one text. So what a setting does
is written once, where the code has it; `settings` of the command lines and docs/settings.md show
it.
"""

import ast
import dataclasses
import inspect
import io
import textwrap
import tokenize
import typing
from collections.abc import Collection, Sequence
from typing import Any

from catalog.config import value_text

HEAD = """# Settings

Made from the comments at the fields of the config dataclasses; a test holds the two together:

    python -m mining settings --format markdown > docs/settings.md
    python -m shards settings --format markdown >> docs/settings.md
    python -m training presets --format markdown >> docs/settings.md

`--set KEY=VALUE` overrides one; items of a list are separated by commas, and `none` is no value. A
meaning that says "the same" or begins with "..." goes on from the row above it. Presets of training
have other values for some: `python -m training presets tiny` shows those of one."""
WIDTH = 44  # characters of `key = value` before its meaning; longer ones push it to the right


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting: its key as `--set` takes it, its value as text, and what it means, with the
    values that it may have where these are listed.
    """

    key: str
    value: str
    meaning: str


def list_settings(config: Any, prefix: str = "") -> list[Setting]:
    """Every setting of a config dataclass and of those in it, in the order of their fields."""
    meanings, hints = _meanings(type(config)), typing.get_type_hints(type(config))
    settings: list[Setting] = []
    for field in dataclasses.fields(config):
        value, key = getattr(config, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            settings += list_settings(value, f"{key}.")
            continue
        meaning = meanings.get(field.name, "")
        if typing.get_origin(hints[field.name]) is typing.Literal:
            choices = "one of " + ", ".join(map(str, typing.get_args(hints[field.name])))
            meaning = f"{meaning} ({choices})" if meaning else choices
        settings.append(Setting(key, value_text(value), meaning))
    return settings


def as_lines(settings: Sequence[Setting]) -> str:
    """One line for each setting: `key = value  # meaning`."""
    lines = []
    for setting in settings:
        line = f"{setting.key} = {setting.value}".rstrip()
        lines.append(f"{line:{WIDTH}}  # {setting.meaning}" if setting.meaning else line)
    return "\n".join(lines)


def chapter(title: str, config: Any, leave_out: Collection[str] = ()) -> str:
    """A chapter of docs/settings.md: a table of the config's own values, and a section for each
    config in it; but for those left out.
    """
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    configs = {name: value for name, value in fields.items() if dataclasses.is_dataclass(value)}
    own = [one for one in list_settings(config) if one.key in fields and one.key not in leave_out]
    parts = [f"## {title}\n", *([_table(config, own)] if own else [])]
    parts += [section(name, configs[name], name) for name in configs if name not in leave_out]
    return "\n".join(parts)


def section(title: str, config: Any, name: str) -> str:
    """A section of docs/settings.md: the settings of the config called `name`."""
    return f"### {title}\n\n{_table(config, list_settings(config, f'{name}.'))}"


def _table(config: Any, settings: Sequence[Setting]) -> str:
    """What the config's docstring says, and a row for each setting."""
    said = " ".join((inspect.getdoc(type(config)) or "").split())
    lines = [said, "", "| setting | default | meaning |", "|---|---|---|"]
    for one in settings:
        value = f"`{one.value}`" if one.value else ""
        meaning = one.meaning.replace("|", "\\|")
        lines.append(f"| `{one.key}` | {value} | {meaning} |".replace("|  |", "| |"))
    return "\n".join([*lines, ""])


def _meanings(kind: type) -> dict[str, str]:
    """The comments at a dataclass' own and inherited fields, by field."""
    meanings: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if dataclasses.is_dataclass(base):
            meanings |= _comments_at_fields(textwrap.dedent(inspect.getsource(base)))
    return meanings


def _comments_at_fields(source: str) -> dict[str, str]:
    """What the comments of a class' source say of each annotated name in it."""
    alone: dict[int, str] = {}  # by line: comments with a line of their own ...
    behind: dict[int, str] = {}  # ... and those behind code
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            kind = alone if token.line.lstrip().startswith("#") else behind
            kind[token.start[0]] = token.string.lstrip("# ").rstrip()
    [body] = [node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    comments: dict[str, str] = {}
    for node in body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        first = node.lineno
        while first - 1 in alone:
            first -= 1
        lines = range(first, (node.end_lineno or node.lineno) + 1)
        texts = [text for line in lines if (text := alone.get(line) or behind.get(line))]
        comments[node.target.id] = " ".join(texts)
    return comments
