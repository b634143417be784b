"""Whole mining runs over synthetic captures: true pairs, exact counts, and the same bytes however
it is run.
"""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from catalog import check, query, trace
from catalog.commands import main
from catalog.config import override
from mining.config import MiningConfig
from mining.executor import Done, share_out
from mining.pair import camera_of
from mining.run import RunOptions, RunReport, mine
from mining.sources.base import DatasetSpec
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.scene import Scene
from tests.plugins import install_plugin
from tests.videos import write_video

OPTIONS = {"num_captures": 3, "num_views": 3, "num_frames": 3, "image_px": 128}
SETTINGS = ["crop.size_px=96", "crop.min_person_px=40"]


def unwatched(done: Iterable[Done], total: int, stage: str) -> Iterable[Done]:
    return done


def mine_synthetic(root: Path, settings: Iterable[str] = (), **options: object) -> RunReport:
    spec = DatasetSpec(
        name="people", adapter="synthetic", root="synthetic", options={**OPTIONS, **options}
    )
    config = override(MiningConfig(), [*SETTINGS, *settings])
    return mine(spec, config, RunOptions(root=str(root), workers=0), unwatched)


def contents(root: Path) -> dict[str, str]:
    """The sha256 of every file below a root but the records of runs, which know the clock."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.relative_to(root).parts[:2] != ("catalog", "runs")
    }


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mined")
    mine_synthetic(root)
    return root


def rows(root: Path, sql: str) -> list[dict[str, object]]:
    return query.select(str(root), sql).to_pylist()


def test_every_check_of_the_catalog_holds(mined: Path) -> None:
    assert [row for row in check.check(str(mined)) if row["broken"]] == []


def test_frames_people_and_pairs_are_there(mined: Path) -> None:
    [counts] = rows(
        mined,
        """SELECT (SELECT count(*) FROM captures) AS captures,
           (SELECT count(*) FROM views) AS views,
           (SELECT sum(num_kept) FROM units WHERE stage = 'decode') AS frames,
           (SELECT count(*) FROM crops) AS crops""",
    )
    assert counts == {"captures": 3, "views": 9, "frames": 27, "crops": 27}
    kinds = {
        row["kind"]: row["n"]
        for row in rows(mined, "SELECT kind, count(*) n FROM pairs GROUP BY 1")
    }
    assert kinds["cross_view"] >= 9 and kinds["cross_pose"] >= 3


def test_the_truth_of_synthetic_people_is_in_the_catalog(mined: Path) -> None:
    """Exact cameras project the exact joints to the exact keypoints."""
    found = rows(
        mined,
        """SELECT joints_world, keypoints_px, intrinsics, distortion, world_from_cam, width_px,
                  height_px
           FROM detections JOIN views USING (view_id)""",
    )
    assert len(found) == 27
    for row in found:
        joints = np.reshape(row["joints_world"], (17, 3))
        keypoints = np.reshape(row["keypoints_px"], (17, 3))
        inside = keypoints[:, 2] > 0
        pixels = camera_of(row).project(joints)
        assert np.abs(pixels - keypoints[:, :2])[inside].max() < 0.01


def test_pairs_show_one_person_at_the_stated_times_and_angles(mined: Path) -> None:
    pairs = rows(
        mined,
        """SELECT pairs.*, captures.name AS capture, da.given_identity AS person_a,
                  db.given_identity AS person_b, va.name AS view_a, vb.name AS view_b,
                  a.time_s AS time_a, b.time_s AS time_b
           FROM pairs JOIN captures USING (capture_id)
           JOIN crops a ON crop_a = a.crop_id JOIN crops b ON crop_b = b.crop_id
           JOIN detections da ON da.detection_id = a.detection_id
           JOIN detections db ON db.detection_id = b.detection_id
           JOIN views va ON va.view_id = a.view_id JOIN views vb ON vb.view_id = b.view_id""",
    )
    config = SyntheticConfig(num_views=3, num_frames=3, image_px=(128,))
    scenes = {f"synthetic-{k:05d}": Scene(config, k) for k in range(3)}
    for pair in pairs:
        assert pair["person_a"] == pair["person_b"]
        assert abs(abs(pair["time_a"] - pair["time_b"]) - pair["time_gap_s"]) < 1e-9
        if pair["kind"] == "cross_view":
            scene = scenes[pair["capture"]]
            middle = scene.joints_world(0, round(pair["time_a"] * config.fps)).mean(axis=0)
            rays = [
                scene.cameras[int(view[-1])].centre_world - middle
                for view in (pair["view_a"], pair["view_b"])
            ]
            cosine = rays[0] @ rays[1] / np.linalg.norm(rays[0]) / np.linalg.norm(rays[1])
            assert pair["view_angle_deg"] == pytest.approx(np.degrees(np.arccos(cosine)), abs=1.0)
            assert pair["time_gap_s"] == 0
        else:
            assert pair["time_gap_s"] > 0


def test_from_a_pair_the_trace_leads_to_the_frames_and_their_source(mined: Path) -> None:
    [pair] = rows(mined, "SELECT pair_id FROM pairs WHERE kind = 'cross_view' ORDER BY 1 LIMIT 1")
    found = trace.trace(str(mined), f"{pair['pair_id']}.a.jpg")
    assert [row["what"] for row in found if row["depth"] < 2] == ["pair", "crop a", "crop b"]
    uris = [row["uri"] for row in found if row["what"] == "view"]
    assert len(set(uris)) == 2 and all(uri.startswith("synthetic:") for uri in uris)


def test_a_second_run_does_no_work_and_changes_nothing(mined: Path) -> None:
    before = contents(mined)
    report = mine_synthetic(mined)
    assert (report.num_done, report.num_skipped) == (0, 9)
    assert contents(mined) == before


def test_a_changed_score_ranks_anew_but_mines_nothing(mined: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(mined), str(root)], check=True)
    report = mine_synthetic(root, ["score.expression=covisibility"])
    assert (report.num_done, report.num_skipped) == (0, 9)
    assert rows(root, "SELECT 1 FROM pairs WHERE score <> covisibility") == []
    assert [row for row in check.check(str(root)) if row["broken"]] == []
    mine_synthetic(root)
    assert contents(root) == contents(mined), "back to the first settings: the first bytes"


def test_more_captures_mine_only_the_new_ones(mined: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(mined), str(root)], check=True)
    report = mine_synthetic(root, num_captures=4)
    assert (report.num_done, report.num_skipped) == (3, 9)


def test_a_wrong_score_is_refused_before_anything_is_touched(mined: Path) -> None:
    before = contents(mined)
    with pytest.raises(ValueError, match=r"score\.expression: .*beauty"):
        mine_synthetic(mined, ["score.expression=beauty"])
    assert contents(mined) == before


def test_a_stage_that_breaks_is_a_failure_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr("mining.executor.pair_capture", broken)
    report = mine_synthetic(tmp_path, num_captures=1)
    assert (report.num_failed, report.num_broken) == (1, 1)
    [failure] = rows(tmp_path, "SELECT error, traceback, num_lost FROM failures")
    assert failure["error"] == "RuntimeError: no such thing" and failure["num_lost"] == 9
    assert "in broken" in failure["traceback"]
    assert [row for row in check.check(str(tmp_path)) if row["broken"]] == []


@pytest.mark.parametrize("style", ["table", "json"])
def test_status_rejects_failures_and_summary_print_what_is_there(
    mined: Path, style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for package, *arguments in (
        ["mining", "status"],
        ["mining", "rejects"],
        ["mining", "failures"],
        ["catalog", "summary", "--dataset", "people"],
        ["catalog", "check"],
    ):
        parser = import_module(f"{package}.__main__").build_parser()
        assert main(parser, [*arguments, "--root", str(mined), "--format", style]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        if "status" in arguments:
            assert "people" in printed.out


def test_a_frame_between_two_segments_is_mined_once(tmp_path: Path) -> None:
    """3 frames a second, 10 moments a second: many moments share a frame, also across segments."""
    mine_synthetic(
        tmp_path, ["sample.segment_s=0.7"], num_captures=1, num_frames=8, fps=3.0, num_views=2
    )
    assert [row for row in check.check(str(tmp_path)) if row["broken"]] == []
    [frames] = rows(tmp_path, "SELECT sum(num_kept) AS n FROM units WHERE stage = 'decode'")
    assert frames["n"] == 16
    indices = rows(
        tmp_path,
        """SELECT list(frame_index ORDER BY frame_index) AS found FROM detections
           GROUP BY view_id""",
    )
    assert [row["found"] for row in indices] == [list(range(8))] * 2
    [segments] = rows(tmp_path, "SELECT count(DISTINCT segment) AS n FROM detections")
    assert segments["n"] > 1


@pytest.mark.parametrize(
    "setting",
    ["sample.fps=-2", "sample.fps=0", "crop.size_px=1", "split.val_share=10", "split.val_share=-1"],
)
def test_settings_that_mean_nothing_are_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="got"):
        override(MiningConfig(), [setting])


def test_what_a_killed_run_left_of_old_settings_goes_with_the_next_run(
    mined: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker commits, then the old key's parts are deleted: a kill may come between the two."""
    root = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(mined), str(root)], check=True)
    with monkeypatch.context() as patch:
        patch.setattr("mining.run.parts.remove", lambda urls: None)
        mine_synthetic(root, ["crop.margin=1.3"])
    assert [row for row in check.check(str(root)) if row["broken"]]
    report = mine_synthetic(root, ["crop.margin=1.3"])
    assert report.num_done == 0
    assert [row for row in check.check(str(root)) if row["broken"]] == []


def test_captures_that_are_gone_stay_until_they_are_pruned(mined: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(mined), str(root)], check=True)
    assert mine_synthetic(root, num_captures=2).num_gone == 1
    assert len(rows(root, "SELECT 1 FROM captures")) == 3
    spec = DatasetSpec(
        name="people", adapter="synthetic", root="", options={**OPTIONS, "num_captures": 2}
    )
    options = RunOptions(root=str(root), workers=0, prune=True)
    mine(spec, override(MiningConfig(), SETTINGS), options, unwatched)
    assert len(rows(root, "SELECT 1 FROM captures")) == 2
    assert [row for row in check.check(str(root)) if row["broken"]] == []


@pytest.mark.parametrize("numbers", [{"workers": -1}, {"limit": 0}])
def test_numbers_of_workers_and_captures_are_checked(numbers: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="or more, got"):
        RunOptions(root="data", **numbers)


DATASET_FILE = """
name = "people"
adapter = "synthetic"
[options]
num_captures = 3
num_views = 3
num_frames = 3
image_px = 128
[config.crop]
size_px = 96
min_person_px = 40
"""


def command(dataset: Path, root: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "mining", "run", str(dataset), "--root", str(root), *more]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "people.toml"
    path.write_text(DATASET_FILE)
    return path


def test_workers_are_as_many_as_have_room_on_the_nodes():
    assert share_out([(8, 0), (4, 0)], None) == (12, 0)
    assert share_out([(8, 0), (4, 0)], 3) == (3, 0)
    assert share_out([(32, 4)] * 4, None) == (128, 1 / 8)
    assert share_out([(32, 4)] * 4, 20) == (20, 1 / 2)
    # A node without a GPU has no room for a worker that wants a share of one.
    assert share_out([(8, 2), (64, 0)], None) == (8, 1 / 4)
    # Two CPUs beside eight GPUs leave most of the work to the other node.
    assert share_out([(2, 8), (6, 1)], None) == (8, 1 / 6)


@pytest.mark.parametrize("workers", ["2", pytest.param("4", marks=pytest.mark.slow)])
def test_any_number_of_ray_workers_writes_the_same_bytes(
    mined: Path, dataset: Path, tmp_path: Path, workers: str
) -> None:
    root = tmp_path / "root"
    subprocess.run(command(dataset, root, "--workers", workers), check=True)
    assert contents(root) == contents(mined)


@pytest.mark.slow
def test_a_cluster_writes_the_same_bytes(mined: Path, dataset: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    start = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block"]
    where = ["--node-ip-address=127.0.0.1", f"--port={address.split(':')[1]}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "RAY_AUTH_MODE": "token"}
    run = command(dataset, tmp_path / "root", "--address", address)
    with subprocess.Popen(
        [*start, *where, "--num-cpus=2", "--disable-usage-stats"], env=environment, **quiet
    ) as cluster:
        try:
            deadline = time.monotonic() + 120
            while subprocess.run(run, env=environment, capture_output=True, check=False).returncode:
                assert cluster.poll() is None and time.monotonic() < deadline
        finally:
            cluster.terminate()
    assert contents(tmp_path / "root") == contents(mined)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(mined: Path, dataset: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for enough in (2, 5):  # units that are done when the whole run is killed
        with subprocess.Popen(
            command(dataset, root, "--workers", "2"), start_new_session=True
        ) as run:
            deadline = time.monotonic() + 120
            while len(list((root / "catalog" / "units").glob("*.parquet"))) < enough:
                assert run.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            os.killpg(run.pid, signal.SIGKILL)
    time.sleep(1.0)
    subprocess.run(command(dataset, root, "--workers", "2"), check=True)
    assert contents(root) == contents(mined)
    assert [row for row in check.check(str(root)) if row["broken"]] == []


@pytest.mark.slow
def test_a_worker_that_dies_costs_its_unit_alone(tmp_path: Path) -> None:
    """A reader that takes its process down, as a decoder does that runs out of memory."""
    code = (
        "import os\n"
        "from mining.sources.base import Capture, Listing, View, ViewInfo\n"
        "class Deadly:\n"
        "    def probe(self, uri):\n"
        "        return ViewInfo(width_px=64, height_px=64, fps=1.0, num_frames=3)\n"
        "    def frames(self, uri, times_s):\n"
        "        if uri == 'bad': os._exit(1)\n"
        "        return iter(())\n"
        "class Source:\n"
        "    def captures(self, spec):\n"
        "        given = ('body', 'hands')\n"
        "        return Listing(captures=tuple(Capture(name=n, uri=n, annotated=given, views=(\n"
        "            View(name=n, uri=n, reader='deadly', fingerprint=n),))\n"
        "            for n in ('bad', 'good')))\n"
    )
    entry_points = (
        "[crosspairs.sources]\ndeadly = deadly:Source\n"
        "[crosspairs.readers]\ndeadly = deadly:Deadly\n"
    )
    site = install_plugin(tmp_path / "site", "deadly", code, entry_points)
    (tmp_path / "my.toml").write_text('adapter = "deadly"\n')
    environment = {**os.environ, "PYTHONPATH": str(site)}
    run = command(tmp_path / "my.toml", tmp_path / "root", "--workers", "2")
    subprocess.run(run, check=True, env=environment)
    [failure] = rows(tmp_path / "root", "SELECT error, attempt, num_lost FROM failures")
    assert failure["error"].startswith("the worker died 2 times")
    assert failure["attempt"] == 2 and failure["num_lost"] == 30
    units = rows(
        tmp_path / "root", "SELECT stage, num_failed FROM units WHERE stage = 'decode' ORDER BY 2"
    )
    assert [row["num_failed"] for row in units] == [0, 30]


def test_a_damaged_video_costs_itself_and_changed_footage_replaces_the_old(tmp_path: Path) -> None:
    footage, root = tmp_path / "footage", tmp_path / "root"
    footage.mkdir()
    write_video(footage / "good.mp4", 20)
    (footage / "bad.mp4").write_bytes(b"damaged")
    spec = DatasetSpec(name="footage", adapter="folder", root=str(footage))
    options = RunOptions(root=str(root), workers=0)
    report = mine(spec, MiningConfig(), options, unwatched)
    assert report.num_failed == 1
    [failure] = rows(root, "SELECT id, error FROM failures")
    assert failure["id"] == "bad" and "is not a video that can be read" in failure["error"]
    assert [row["name"] for row in rows(root, "SELECT name FROM captures")] == ["good"]
    write_video(footage / "good.mp4", 40)
    write_video(footage / "bad.mp4", 20)
    assert mine(spec, MiningConfig(), options, unwatched).num_broken == 0
    captures = rows(root, "SELECT name, duration_s FROM captures ORDER BY name")
    assert captures == [{"name": "bad", "duration_s": 1.0}, {"name": "good", "duration_s": 2.0}]
    assert rows(root, "SELECT * FROM failures") == []
    assert [row for row in check.check(str(root)) if row["broken"]] == []
