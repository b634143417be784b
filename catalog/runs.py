"""The rows of `runs`: what one stage of one run did, with which settings, and how long it took."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from catalog import parts
from catalog.ids import content_id
from catalog.parts import PartName
from catalog.versions import package_versions


def record_run(
    root: str,
    run_id: str,
    stage: str,
    *,
    dataset: str | None,
    config: Mapping[str, Any],
    started: datetime,
    wall_s: float,
    num_units: int,
    num_frames: int = 0,
    num_skipped: int = 0,
    num_failed: int = 0,
    worker_seconds: Mapping[str, float] | None = None,
) -> None:
    """Write the row of `runs` for a stage that did work.

    `config` is the resolved settings as JSON holds them; `worker_seconds` are summed over workers,
    by what they were spent on, where there are any.
    """
    row = {
        "run_id": run_id,
        "stage": stage,
        "dataset": dataset,
        "config": json.dumps(config),
        "config_hash": content_id(config),
        "versions": json.dumps(package_versions()),
        "started": started,
        "wall_s": round(wall_s, 3),
        "worker_seconds": json.dumps(worker_seconds or {}),
        "num_units": num_units,
        "num_frames": num_frames,
        "num_skipped": num_skipped,
        "num_failed": num_failed,
    }
    parts.commit(root, PartName(run_id, stage, "run"), {"runs": [row]})
