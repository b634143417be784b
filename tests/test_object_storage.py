"""Shards in object storage, on a real S3 server: the same training as from disk, and one sentence
for whatever goes wrong.
"""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import s3fs
from botocore.exceptions import EndpointConnectionError

from catalog import storage
from catalog.commands import main
from catalog.config import override
from catalog.object_store import explain
from shards.__main__ import build_parser as shards_parser
from tests.catalog_fixture import write_catalog
from tests.s3_server import BUCKET, SECRET_KEY, S3Server, s3, s3_server
from tests.test_loader import VIEW, ids, make_loader, take
from tests.test_pretrain import MICRO, log_of, weights
from tests.toy_shards import write_toy_shards
from training.__main__ import build_parser
from training.loading import shard_files
from training.presets import tiny
from training.pretrain import pretrain

__all__ = ["s3", "s3_server"]  # the fixtures


@pytest.fixture
def local(tmp_path) -> str:
    return write_toy_shards(tmp_path / "set", (12, 12, 12, 12), crop_px=48)


@pytest.fixture
def remote(s3, local, tmp_path) -> str:
    """The same set in the bucket, under a prefix of the test's own."""
    url = f"s3://{BUCKET}/{tmp_path.name}"
    for path in Path(local).iterdir():
        storage.write_bytes(f"{url}/{path.name}", path.read_bytes())
    return url


def loader(url: str, workers: int = 0, **options):
    options = {"batch_size": 4, "window_shards": 1, "max_bad_share": 0.5, **options}
    return make_loader(url, workers, VIEW, **options)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_from_object_storage_is_training_from_disk(local, remote, tmp_path, workers):
    config = override(tiny(), [*MICRO, "run.log_every=1", "loader.window_shards=2"])
    config = replace(config, run=replace(config.run, num_steps=7, minutes=None))
    far = override(config, [f"loader.num_workers={workers}"])
    pretrain(config, [local], str(tmp_path / "near"), lambda share, text: None)
    pretrain(far, [remote], str(tmp_path / "far"), lambda share, text: None)
    assert weights(tmp_path / "near") == weights(tmp_path / "far")
    assert log_of(tmp_path / "near") == log_of(tmp_path / "far")
    assert len(log_of(tmp_path / "far")) == 7


def test_the_samples_come_in_the_same_order(local, remote):
    near, far = loader(local), loader(remote)
    assert ids(take(near, 15)) == ids(take(far, 15))
    assert near.state() == far.state() and not far.damaged


def run(parser, arguments: list[str], capsys) -> str:
    """Run a command that the user must change something for; return its one sentence."""
    assert main(parser, arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error and SECRET_KEY not in error
    return error


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "access is refused .*signature.*: check AWS_ACCESS_KEY"),
        ("AWS_ACCESS_KEY_ID", "wrong", "access is refused .*: check AWS_ACCESS_KEY_ID and AWS_SEC"),
        ("AWS_ACCESS_KEY_ID", None, "(no credentials|refused) .*: check AWS_ACCESS_KEY_ID and AWS"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "not connect .*: check the network and AWS_END"),
        ("AWS_ENDPOINT_URL", "nonsense", "Invalid endpoint: nonsense: check the address"),
    ],
)
def test_a_store_that_refuses_is_one_sentence(remote, capsys, monkeypatch, name, value, expected):
    if value is None:
        monkeypatch.delenv(name)
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    else:
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    error = run(build_parser(), ["pretrain", "--shards", remote, "--steps", "1"], capsys)
    assert f"{remote}/index.json: " in error and re.search(expected, error), error
    s3fs.S3FileSystem.clear_instance_cache()
    assert run(shards_parser(), ["peek", f"{remote}/train-000000.tar"], capsys)


def test_no_secret_is_in_a_sentence(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "open-sesame")
    url = "http://me:hidden@127.0.0.1:9/open-sesame"
    text = str(explain(EndpointConnectionError(endpoint_url=url), "s3://bucket/x"))
    assert "http://***@127.0.0.1:9/***" in text
    assert "hidden" not in text and "sesame" not in text


def test_a_missing_bucket_or_set_is_one_sentence(s3, capsys):
    error = run(shards_parser(), ["ls", "s3://no-such-bucket/x"], capsys)
    assert "bucket does not exist: check its name and AWS_ENDPOINT_URL" in error
    error = run(shards_parser(), ["ls", f"s3://{BUCKET}/nothing"], capsys)
    assert f"s3://{BUCKET}/nothing is not a shard set" in error


def test_a_missing_client_is_one_sentence(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    error = run(shards_parser(), ["ls", "s3://bucket/x"], capsys)
    assert "pip install s3fs" in error


def test_a_truncated_object_costs_its_samples_and_is_named(remote):
    url = f"{remote}/train-000001.tar"
    data = storage.read_bytes(url)
    storage.write_bytes(url, data[: len(data) // 2])
    damaged = loader(remote)
    assert len(ids(take(damaged, 9))) == 36
    assert len(damaged.damaged) == 12
    for reason in damaged.damaged.values():
        assert f"{url} sample" in reason and f"has {len(data) // 2} bytes, the index says" in reason


def test_an_object_that_is_gone_or_empty_is_named(remote, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(shard_files, "time", Clock(waits.append))
    storage.delete(f"{remote}/train-000001.tar")
    storage.write_bytes(f"{remote}/train-000002.tar", b"")
    damaged = loader(remote, max_bad_share=1.0, prefetch_shards=0)
    take(damaged, damaged.num_batches)
    reasons = " ".join(damaged.damaged.values())
    assert "train-000001.tar: No such file" in reasons
    assert "train-000002.tar: it ends before the bytes" in reasons
    assert not waits


def test_listings_are_never_stale(remote, s3):
    assert len(storage.list_files(remote, ".tar")) == 4
    other = s3fs.S3FileSystem(skip_instance_cache=True)  # as another process would
    other.pipe_file(f"{remote}/train-000009.tar", b"new")
    other.rm_file(f"{remote}/train-000000.tar")
    names = [url[-7:] for url in storage.list_files(remote, ".tar")]
    assert names == ["001.tar", "002.tar", "003.tar", "009.tar"]
    assert storage.size_bytes(f"{remote}/train-000009.tar") == 3
    assert not storage.exists(f"{remote}/train-000000.tar")


def test_shards_are_built_checked_and_shown_there(s3, tmp_path, capsys):
    root, url = str(tmp_path / "root"), f"s3://{BUCKET}/{tmp_path.name}"
    write_catalog(root)
    assert main(shards_parser(), ["build", "--root", root]) == 0
    for _ in range(2):
        assert main(shards_parser(), ["build", "--root", root, "--out", url]) == 0
    assert "nothing to do" in capsys.readouterr().err
    near = f"{root}/shards/all"
    tars = sorted(path.name for path in Path(near).glob("*.tar"))
    assert [file.rsplit("/", 1)[-1] for file in storage.list_files(url, ".tar")] == tars
    for name in tars:
        assert storage.read_bytes(f"{url}/{name}") == Path(near, name).read_bytes()
    assert main(shards_parser(), ["verify", url]) == 0
    assert "every one whole" in capsys.readouterr().out
    assert main(shards_parser(), ["ls", url, "--format", "json"]) == 0
    listed = [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()]
    assert sorted(listed) == tars
    assert main(shards_parser(), ["peek", url, "-n", "3", "--format", "json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_make_pretrain_takes_a_url():
    sets = "s3://bucket/prefix data/shards/somewhere"
    command = ["make", "-n", "pretrain", f"SHARDS={sets}", "ROOT=data"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"-m training pretrain --shards {sets} " in printed
    assert 'mining run "$DATASET"' in printed  # the local one is mined when it is not there


@pytest.mark.slow
def test_a_server_that_dies_is_waited_for_and_then_named(remote, local, s3: S3Server, monkeypatch):
    waits: list[float] = []

    def restart(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            s3.start()

    whole = ids(take(loader(local), 6))
    far = loader(remote, prefetch_shards=0, cache_gib=150_000 / 2**30, max_bad_share=0.3)
    batches = iter(far)
    seen = [next(batches) for _ in range(2)]
    s3.stop()
    with monkeypatch.context() as patch:
        patch.setattr(shard_files, "time", Clock(restart))
        seen += [next(batches) for _ in range(4)]
    assert waits == [0.5, 1.0] and not far.damaged
    s3.stop()
    waits.clear()
    with monkeypatch.context() as patch:
        patch.setattr(shard_files, "time", Clock(waits.append))
        with pytest.raises(ValueError, match=r"train-00000\d\.tar sample .*Could not connect"):
            for _ in range(4):
                seen.append(next(batches))
    assert waits and waits == [0.5, 1.0, 2.0, 4.0] * (len(waits) // 4)
    assert ids(seen)[: len(whole)] == whole


class Clock:
    """Stands for the module `time` where waiting is watched."""

    def __init__(self, sleep) -> None:
        self.sleep = sleep
