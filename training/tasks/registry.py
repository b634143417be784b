"""The tasks by name. A new one is a file beside this one and a line here."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from training.tasks.task import Task

# Task to its module, which has `config_for(size)` and perhaps `complete_config(config, shards)`,
# and the class, or function, that makes it from its config.
TASKS: Mapping[str, str] = {
    "body_mesh": "body_mesh:BodyMesh",
    "body_mesh_free": "body_mesh_free:BodyMeshFree",
    "hand_mesh": "hand_mesh:make_hand_mesh",
    "two_view": "two_view:TwoView",
    "dense_pose": "dense_pose:DensePose",
    "gesture": "gesture:Gesture",
    "keypoints": "keypoints:Keypoints",
}


def task_config(name: str, size: str) -> Any:
    """The config of a task for an encoder of a size: `tiny`, `small` or `base`.

    Raises ValueError, naming the tasks there are, for an unknown one.
    """
    return _module(name)[0].config_for(size)


def complete_config(name: str, config: Any, shards: Sequence[str]) -> Any:
    """Fill in what only the data tell: the classes of gestures, where the config names none.

    Raises ValueError for sets that cannot be read or that do not tell.
    """
    complete = getattr(_module(name)[0], "complete_config", None)
    return config if complete is None else complete(config, shards)


def make_task(name: str, config: Any) -> Task:
    """Make a task from its config. Raises ValueError for an unknown name or a bad config."""
    module, kind = _module(name)
    task: Task = getattr(module, kind)(config)
    return task


def _module(name: str) -> tuple[Any, str]:
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; there are: {', '.join(TASKS)}")
    module, _, kind = TASKS[name].partition(":")
    return import_module(f"training.tasks.{module}"), kind
