"""Configs: frozen dataclasses, overridden by `section.key=value`, hashed for content keys, written
beside every output.
"""

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from catalog.ids import content_id

Config = TypeVar("Config")


def override(config: Config, assignments: Iterable[str]) -> Config:
    """Return `config` with `section.key=value` assignments applied in order.

    Values are read as the field's annotated type: `true`/`false`, finite numbers, text, `none`
    where None is allowed, and comma-separated lists for tuples. Raises ValueError, naming the valid
    keys, for an unknown key or a value that does not fit.
    """
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise ValueError(f"--set needs section.key=value, got {assignment!r}")
        config = _replace(config, path.strip().split("."), text.strip(), path.strip())
    return config


def override_from_table(config: Config, table: dict[str, Any], prefix: str = "") -> Config:
    """Return `config` with the nested tables of a TOML file applied; errors as in `override`."""
    for key, value in table.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            config = override_from_table(config, value, f"{path}.")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            config = override(config, [f"{path}={text}"])
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config dataclass as plain nested dicts and lists that JSON can hold."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def value_text(value: Any) -> str:
    """Return a setting's value as the text that `override` reads."""
    if isinstance(value, tuple):
        return ",".join(map(value_text, value))
    text = " ".join(str(value).split())
    return text.lower() if value is None or isinstance(value, bool) else text


def config_hash(*configs: Any) -> str:
    """Hash the resolved values of one or more configs (part of every work unit's content key)."""
    return content_id(*[to_dict(config) for config in configs])


def valid_keys(config: Any, prefix: str = "") -> list[str]:
    """List every `section.key` that `override` accepts."""
    keys: list[str] = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        path = f"{prefix}{field.name}"
        keys += valid_keys(value, f"{path}.") if dataclasses.is_dataclass(value) else [path]
    return keys


def _replace(config: Any, names: Sequence[str], text: str, path: str) -> Any:
    name, rest = names[0], names[1:]
    known = (
        {field.name for field in dataclasses.fields(config)}
        if dataclasses.is_dataclass(config)
        else set()
    )
    value = getattr(config, name) if name in known else None
    if name not in known or bool(rest) != dataclasses.is_dataclass(value):
        keys = valid_keys(config) if known else []
        close = difflib.get_close_matches(".".join(names), keys, n=3)
        meant = f"did you mean {' or '.join(close)}? " if close else ""
        here = ", ".join(keys) or "none below this one"
        raise ValueError(f"unknown config key {path!r}; {meant}valid keys here: {here}")
    if rest:
        return dataclasses.replace(config, **{name: _replace(value, rest, text, path)})
    annotation = typing.get_type_hints(type(config))[name]
    try:
        return dataclasses.replace(config, **{name: _parse(text, annotation)})
    except ValueError as error:
        raise ValueError(f"{path}={text}: {error}") from None


def _parse(text: str, annotation: Any) -> Any:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        if text.lower() in ("none", "null"):
            return None
        return _parse(text, next(arg for arg in args if arg is not type(None)))
    if origin is typing.Literal:
        if text not in args:
            raise ValueError(f"expected one of {', '.join(map(str, args))}")
        return text
    if origin is tuple:
        return tuple(_parse(item.strip(), args[0]) for item in text.split(",") if item.strip())
    if annotation is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError("expected true or false")
        return text.lower() in ("true", "1")
    if annotation in (int, float):
        try:
            number = annotation(text)
        except ValueError:
            raise ValueError(
                f"expected {'a whole number' if annotation is int else 'a number'}"
            ) from None
        if annotation is float and not math.isfinite(number):  # NaN is not `<= 0`, and passes
            raise ValueError("expected a finite number")
        return number
    if annotation is str:
        return text
    raise TypeError(f"config fields of type {annotation} cannot be set from text")
