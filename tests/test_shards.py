"""Shards: what is picked, what the tars hold, and that the same plan gives the same bytes."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import webdataset as wds

from catalog import check, parts, query, storage
from catalog.commands import main
from shards.__main__ import build_parser
from shards.build import BuildReport, build_shards
from shards.format import ShardEntry, ShardIndex, read_index
from shards.groups import Group, decode_groups
from shards.pairs import EXTENSIONS, decode_foreground, decode_keypoints
from shards.plan import JSON_COLUMNS, ShardsConfig
from shards.read import SHEET_PX, RawSample, peek, read_samples
from shards.verify import verify
from tests.catalog_fixture import CROP_PX, pair_part, write_catalog

CONFIG = ShardsConfig(samples_per_shard=20)


@pytest.fixture
def root(tmp_path: Path) -> str:
    path = str(tmp_path / "root")
    write_catalog(path)
    return path


def build(
    root: str, where: str = "score > 0", out: str | None = None, **settings: Any
) -> BuildReport:
    return build_shards(
        root, None, out, where, ShardsConfig(**{"samples_per_shard": 20, **settings})
    )


def digests(url: str) -> dict[str, str]:
    """sha256 of every file of a shard set."""
    files = storage.list_files(url)
    return {file.rsplit("/", 1)[-1]: sha256(storage.read_bytes(file)) for file in files}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def all_samples(url: str) -> list[RawSample]:
    return peek(url, 10**6)


def keys(url: str) -> list[str]:
    return [sample.key for sample in all_samples(url)]


def rows(root: str, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = query.select(root, sql).to_pylist()
    return found


# What is picked


def test_the_condition_picks_the_pairs(root: str) -> None:
    report = build(root, where="score > 0.5 AND kind = 'cross_view'")
    wanted = rows(root, "SELECT pair_id FROM pairs WHERE score > 0.5 AND kind = 'cross_view'")
    assert sorted(keys(report.url)) == sorted(row["pair_id"] for row in wanted)
    assert report.index.samples_by_kind == {"cross_view": len(wanted)}


def test_a_condition_may_ask_other_tables(root: str) -> None:
    where = "capture_id IN (SELECT capture_id FROM captures WHERE subject = 'subject-1')"
    assert build(root, where=where).index.num_samples == 32


def test_a_dataset_is_picked_by_name(root: str) -> None:
    write_catalog(root, num_captures=2, dataset="other")
    report = build_shards(root, "other", None, "score >= 0", CONFIG)
    assert {sample.meta["dataset"] for sample in all_samples(report.url)} == {"other"}
    assert report.index.name == "other" and report.url.endswith("/shards/other")
    with pytest.raises(ValueError, match=r"no pair of dataset 'third'.*other, tiny"):
        build_shards(root, "third", None, "true", CONFIG)


@pytest.mark.parametrize(
    "where",
    ["", "score >", "nonsense = 1", "1); DROP VIEW pairs; SELECT (1", "pair_id = $who",
     "score > (SELECT count(*) FROM read_csv('/etc/passwd'))", "(DELETE FROM pairs)"],
)  # fmt: skip
def test_what_is_no_condition_is_refused_in_one_sentence(root: str, where: str) -> None:
    with pytest.raises(ValueError, match="is not a condition over the columns of pairs") as error:
        build(root, where=where)
    assert "\n" not in str(error.value).replace(where, "")
    assert not storage.exists(storage.join(root, "shards"))


def name_subjects(root: str, subjects: list[str | None]) -> None:
    """Give each capture, in the order of their names, the subject of the same place."""
    captures = rows(root, "SELECT * FROM captures ORDER BY name")
    scopes = {name.scope: name for name in parts.list_parts(root, "captures")}
    for capture, subject in zip(captures, subjects, strict=True):
        part = scopes[capture["capture_id"]]
        parts.commit(root, part, {"captures": [{**capture, "subject": subject}]})


@pytest.mark.parametrize("subjects", [[None] * 4, ["anna", None, "anna", "ben"]])
@pytest.mark.parametrize("num_people", [1, 2])
def test_a_cap_keeps_the_best_pairs_of_each_person(
    tmp_path: Path, subjects: list[str | None], num_people: int
) -> None:
    """Who is alone in two captures is one person; two people in one capture share its subject."""
    root = str(tmp_path)
    write_catalog(root, num_people=num_people)
    name_subjects(root, subjects)
    report = build(root, where="true", max_pairs_per_identity_per_kind=3)
    kept = set(keys(report.url))
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows(root, "SELECT pairs.*, subject FROM pairs JOIN captures USING (capture_id)"):
        alone = row["subject"] if num_people == 1 else None
        groups.setdefault((alone or row["identity_id"], row["kind"]), []).append(row)
    assert len(groups) == 2 * (3 if num_people == 1 and subjects[0] else 4 * num_people)
    for group in groups.values():
        best = sorted(group, key=lambda row: (-row["score"], row["pair_id"]))[:3]
        assert {row["pair_id"] for row in group} & kept == {row["pair_id"] for row in best}
    assert report.rejected == {"identity_cap": report.num_in - len(kept)}


def test_people_of_one_name_in_two_datasets_are_two(tmp_path: Path) -> None:
    root = str(tmp_path)
    for dataset in ("tiny", "other"):
        write_catalog(root, dataset=dataset, num_people=1)
    report = build(root, where="true", max_pairs_per_identity_per_kind=3)
    assert report.index.num_samples == 2 * 4 * 2 * 3  # datasets, subjects, kinds, pairs


def test_a_cap_keeps_view_angles_balanced(root: str) -> None:
    report = build(root, where="true", max_pairs_per_angle_bin=1, angle_bin_deg=5.0)
    metas = [sample.meta for sample in all_samples(report.url)]
    bins = Counter(
        (meta["identity_id"], meta["view_angle_deg"] // 5)
        for meta in metas
        if meta["kind"] == "cross_view"
    )
    assert set(bins.values()) == {1} and len(bins) == 8 * 3  # 28 to 38 degrees, of 8 people
    assert report.index.samples_by_kind["cross_pose"] == 8 * 10  # these have no angle: none dropped


def test_counts_add_up_and_every_dropped_pair_is_a_row(root: str) -> None:
    report = build(root, max_pairs_per_angle_bin=2, max_pairs_per_identity_per_kind=4)
    [unit] = rows(root, "SELECT * FROM units WHERE stage = 'shards'")
    assert unit["num_in"] == report.num_in == unit["num_kept"] + unit["num_rejected"]
    dropped = rows(root, "SELECT id, reason, detail FROM rejects WHERE stage = 'shards'")
    assert Counter(row["reason"] for row in dropped) == report.rejected
    assert set(report.rejected) == {"angle_bin_cap", "identity_cap"}
    assert {row["id"] for row in dropped}.isdisjoint(keys(report.url))
    assert [row for row in check.check(root) if row["broken"]] == []


def test_no_capture_and_no_pair_is_in_both_splits(root: str) -> None:
    url = build(root).url
    captures: dict[str, set[str]] = {"train": set(), "val": set()}
    for shard in read_index(url).shards:
        for sample in read_samples(storage.join(url, shard.name)):
            assert sample.meta["split"] == shard.split
            captures[shard.split].add(sample.meta["capture_id"])
    assert captures["train"] and captures["val"]
    assert captures["train"].isdisjoint(captures["val"])
    assert len(set(keys(url))) == len(keys(url))


def test_a_person_in_both_splits_is_refused(root: str) -> None:
    capture = rows(root, "SELECT * FROM captures WHERE split = 'val'")[0]
    probe = next(n for n in parts.list_parts(root, "captures") if n.scope == capture["capture_id"])
    parts.commit(root, probe, {"captures": [{**capture, "subject": "subject-0"}]})
    with pytest.raises(ValueError, match="subject subject-0 of tiny is in both train and val"):
        build(root)


def test_a_catalog_in_the_middle_of_replacement_is_refused(root: str) -> None:
    name = pair_part(root, rows(root, "SELECT capture_id FROM captures")[0]["capture_id"])
    again = parts.PartName(name.scope, name.unit, "0" * 16)
    parts.commit(root, again, {"pairs": parts.read_rows(root, "pairs", name)})
    with pytest.raises(ValueError, match="holds 32 pairs or their crops twice"):
        build(root, where="true")


# What a tar holds


def test_plain_webdataset_reads_the_same_bytes(root: str) -> None:
    url = build(root).url
    tars = [storage.join(url, shard.name) for shard in read_index(url).shards]
    found = list(wds.WebDataset(tars, shardshuffle=False, empty_check=False))
    assert [sample["__key__"] for sample in found] == keys(url)
    for theirs, ours in zip(found, all_samples(url), strict=True):
        assert {name: theirs[name] for name in theirs if name[0] != "_"} == ours.files
        assert set(ours.files) == set(EXTENSIONS)


def test_a_sample_says_who_it_is_without_a_name(tmp_path: Path) -> None:
    root = str(tmp_path)
    write_catalog(root, num_people=1)
    name_subjects(root, ["anna", None, "anna", "ben"])
    captures = rows(root, "SELECT capture_id, subject FROM captures")
    subjects = {row["capture_id"]: row["subject"] for row in captures}
    found = {
        (subjects[sample.meta["capture_id"]] or sample.meta["identity_id"]): sample.meta[
            "person_id"
        ]
        for sample in all_samples(build(root).url)
    }
    assert len(found) == len(set(found.values())) == 3 and not set(found.values()) & {"anna", "ben"}


def test_images_are_copied_and_described(root: str) -> None:
    url = build(root).url
    crops = {row["crop_id"]: row for row in rows(root, "SELECT * FROM crops")}
    pairs = {row["pair_id"]: row for row in rows(root, "SELECT * FROM pairs")}
    for sample in all_samples(url):
        meta, pair = sample.meta, pairs[sample.key]
        assert meta["person_id"] == pair["identity_id"]  # two people are in each capture
        assert not [name for name in meta if name[:5] == "crop_"]
        assert {name: meta[name] for name in pair if name[:5] != "crop_"} == {
            name: value for name, value in pair.items() if name[:5] != "crop_"
        }
        foreground = decode_foreground(sample.files["foreground.npy"])
        keypoints_px = decode_keypoints(sample.files["keypoints.npy"])
        for number, side in enumerate("ab"):
            crop, image = crops[pair[f"crop_{side}"]], meta[side]
            place = (storage.join(root, crop["file"]), crop["offset"], crop["length"])
            assert sample.files[f"{side}.jpg"] == storage.read_bytes(*place)
            assert image["crop_id"] == crop["crop_id"] and image["view_id"] == crop["view_id"]
            assert foreground[number].tobytes() == crop["foreground"]
            x, y, confidence = keypoints_px[number, 0]
            assert x == pytest.approx((crop["keypoints_px"][0] - crop["box_px"][0]) / 2)
            assert y == pytest.approx((crop["keypoints_px"][1] - crop["box_px"][1]) / 2)
            assert confidence == pytest.approx(crop["keypoints_px"][2])
            assert keypoints_px.shape == (2, 17, 3) and not keypoints_px[number, 16].any()


def test_a_tar_knows_no_clock_and_no_user(root: str) -> None:
    url = build(root).url
    with tarfile.open(storage.join(url, read_index(url).shards[0].name)) as tar:
        for member in tar:
            owner = (member.uid, member.gid, member.uname, member.gname)
            assert (member.mtime, member.mode, owner) == (0, 0o444, (0, 0, "", ""))


def test_the_index_counts_what_is_there(root: str) -> None:
    report = build(root)
    raw = json.loads(storage.read_text(storage.join(report.url, "index.json")))
    assert raw["format"] == 4 and raw["crop_px"] == CROP_PX and raw["query"] == "score > 0"
    for shard in raw["shards"]:
        data = storage.read_bytes(storage.join(report.url, shard["name"]))
        assert (len(data), sha256(data)) == (shard["bytes"], shard["sha256"])
    assert (
        sum(shard["samples"] for shard in raw["shards"])
        == raw["num_samples"]
        == len(keys(report.url))
    )
    assert ShardIndex.from_json(report.index.to_json()) == report.index


def test_the_index_knows_the_group_of_every_sample(root: str) -> None:
    write_catalog(root, num_captures=2, dataset="other")
    mix_parts(root)
    crop = rows(root, "SELECT file FROM crops ORDER BY crop_id")[0]
    storage.delete(storage.join(root, crop["file"]))  # lost pairs shift all that come after
    report = build(root, where="true")
    assert report.num_failed and len(report.index.groups) == 8
    for shard in report.index.shards:
        samples = read_samples(storage.join(report.url, shard.name))
        for number, sample in zip(decode_groups(shard.groups), samples, strict=True):
            group = vars(report.index.groups[number])
            assert group == {name: sample.meta[name] for name in group}
    assert verify(report.url) == []


def mix_parts(root: str) -> None:
    """Call every third pair one of a left hand."""
    for name in parts.list_parts(root, "pairs"):
        pairs = parts.read_rows(root, "pairs", name)
        for number, pair in enumerate(pairs):
            pair["part"] = "body" if number % 3 else "left_hand"
        parts.commit(root, name, {"pairs": pairs})


def test_more_groups_than_can_be_numbered_are_refused(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shards.plan.MAX_GROUPS", 1)
    with pytest.raises(ValueError, match=r"are of 2 groups .* at most 1: build several sets"):
        build(root)


def test_the_catalog_names_every_sample(root: str) -> None:
    url = build(root).url
    found = rows(root, "SELECT shard, position, pair_id FROM samples ORDER BY shard, position")
    wanted = [
        {"shard": shard.name, "position": position, "pair_id": sample.key}
        for shard in read_index(url).shards
        for position, sample in enumerate(read_samples(storage.join(url, shard.name)))
    ]
    assert found == wanted
    assert rows(root, "SELECT url FROM shard_sets") == [{"url": "shards/all"}]


# The same plan, the same bytes


def test_a_build_is_a_row_of_runs_that_lacks_nothing(root: str) -> None:
    build(root)
    [row] = rows(root, "SELECT * FROM runs WHERE stage = 'shards'")
    assert row.pop("dataset") is None, "of all datasets"
    assert None not in row.values()
    assert (row["num_units"], row["num_frames"], row["worker_seconds"]) == (1, 0, "{}")


def test_another_process_and_another_root_give_the_same_bytes(root: str, tmp_path: Path) -> None:
    first = digests(build(root).url)
    other = str(tmp_path / "elsewhere")
    write_catalog(other)
    command = [sys.executable, "-m", "shards", "build", "--root", other]
    command += ["--set", "samples_per_shard=20"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"written to {other}/shards/all" in result.stderr
    assert digests(storage.join(other, "shards", "all")) == first


def test_the_same_command_again_writes_nothing(root: str) -> None:
    report = build(root)
    files = {path: path.stat().st_mtime_ns for path in Path(root).rglob("*") if path.is_file()}
    again = build(root)
    assert again.skipped and not report.skipped and again.index == report.index
    assert files == {p: p.stat().st_mtime_ns for p in Path(root).rglob("*") if p.is_file()}


def test_the_order_depends_on_the_seed_alone(root: str) -> None:
    first = [keys(build(root, seed=seed).url) for seed in (0, 1, 0)]
    assert first[0] == first[2] != first[1]
    assert sorted(first[0]) == sorted(first[1])
    by_capture = [sample.meta["capture_id"] for sample in peek(build(root).url, 20)]
    assert len(set(by_capture)) == 3  # one tar mixes all training captures
    for name in parts.list_parts(root, "pairs"):
        turned = parts.read_rows(root, "pairs", name)[::-1]
        parts.commit(root, name, {"pairs": turned})
    assert keys(build(root).url) == first[0]


def test_a_changed_plan_replaces_tars_and_rows(root: str) -> None:
    before = build(root)
    stranger = storage.join(before.url, "mine.tar")
    storage.write_bytes(stranger, b"not of a build")
    after = build(root, where="score > 0.5")
    listed = {shard.name for shard in after.index.shards}
    assert listed.isdisjoint(shard.name for shard in before.index.shards)
    assert set(digests(after.url)) == {*listed, "index.json", "mine.tar"}
    assert [row["num_pairs"] for row in rows(root, "SELECT * FROM shard_sets")] == [
        len(keys(after.url))
    ]
    assert len(rows(root, "SELECT * FROM samples")) == after.index.num_samples
    fresh = {name: digest for name, digest in digests(after.url).items() if name != "mine.tar"}
    assert fresh == digests(build(root, where="score > 0.5", out=f"{root}/other").url)


def test_sets_in_several_places_are_kept_apart(root: str, tmp_path: Path) -> None:
    build(root)
    build(root, out=str(tmp_path / "copy"))
    build(root, out=str(tmp_path / "half"), where="score > 0.5")
    assert len(rows(root, "SELECT * FROM shard_sets")) == 3
    assert [row for row in check.check(root) if row["broken"]] == []


class Killed(BaseException):
    """Stands for the end of the process: nothing handles it."""


def stop_after(patch: pytest.MonkeyPatch, num_writes: int) -> None:
    write, done = storage.write_bytes, [0]

    def limited(url: str, data: bytes) -> None:
        if done[0] == num_writes:
            raise Killed
        done[0] += 1
        write(url, data)

    patch.setattr(storage, "write_bytes", limited)


def test_stopped_before_any_write_it_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, url = str(tmp_path / "root"), str(tmp_path / "root/shards/all")
    write_catalog(root, num_captures=2, num_times=3)
    wanted = digests(build(root, out=str(tmp_path / "wanted"), max_pairs_per_angle_bin=1).url)
    for num_writes in range(100):
        old = build(root, where="true", seed=3).index
        with monkeypatch.context() as patch:
            stop_after(patch, num_writes)
            try:
                build(root, max_pairs_per_angle_bin=1)
            except Killed:
                pass
            else:
                break
        if read_index(url) == old:  # as long as the old index stands, its tars do too
            problems = {problem["problem"] for problem in verify(url)}
            assert problems <= {"is not in the index: a build was stopped; run it again"}
        build(root, max_pairs_per_angle_bin=1)
        assert digests(url) == wanted
        assert [row for row in check.check(root) if row["broken"]] == []
    assert num_writes == len(wanted) + 6  # tars, index; five tables' parts; the run's row


def test_killed_for_real_it_ends_the_same_and_keeps_what_was_written(
    root: str, tmp_path: Path
) -> None:
    wanted = digests(build(root, out=str(tmp_path / "wanted")).url)
    code = """
import os, signal, sys
from catalog import storage
from shards.build import build_shards
from shards.plan import ShardsConfig
writes = []
def write(url, data, whole=storage.write_bytes):
    if len(writes) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    writes.append(url)
    whole(url, data)
storage.write_bytes = write
build_shards(sys.argv[1], None, None, "score > 0", ShardsConfig(samples_per_shard=20))
"""
    killed = subprocess.run([sys.executable, "-c", code, root], check=False)
    assert killed.returncode == -signal.SIGKILL
    url = Path(root) / "shards" / "all"
    left = {path: path.stat().st_mtime_ns for path in url.iterdir()}
    assert len(left) == 3 and url / "index.json" not in left
    (url / ".tmp-half-written").write_bytes(b"as a writer killed within a write leaves it")
    os.utime(url / ".tmp-half-written", (0, 0))
    build(root)
    assert digests(str(url)) == wanted
    assert all(path.stat().st_mtime_ns == written for path, written in left.items())
    assert not (url / ".tmp-half-written").exists()


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_a_set_may_lie_at_any_url(root: str, tmp_path: Path, scheme: str) -> None:
    folder = str(tmp_path / "out") if scheme == "file" else f"/{uuid.uuid4().hex}"
    url = f"{scheme}://{folder}"
    assert digests(build(root, out=url).url) == digests(build(root).url)
    assert build(root, out=url).skipped and verify(url) == []
    build(root, out=url, where="score > 0.5")
    assert set(digests(url)) == {"index.json", *(shard.name for shard in read_index(url).shards)}


# What is damaged


def damage(url: str, change: Callable[[bytearray], object]) -> None:
    data = bytearray(storage.read_bytes(url))
    change(data)
    storage.write_bytes(url, bytes(data))


def test_a_damaged_crop_costs_its_pairs_and_is_named(root: str) -> None:
    whole = build(root, where="true")
    crop = rows(root, "SELECT * FROM crops ORDER BY crop_id")[0]
    file = storage.join(root, crop["file"])
    intact = storage.read_bytes(file)
    damage(file, lambda data: data.__setitem__(slice(crop["offset"], crop["offset"] + 3), b"abc"))
    report = build(root, where="true", seed=1)
    sql = f"SELECT pair_id FROM pairs WHERE '{crop['crop_id']}' IN (crop_a, crop_b)"
    lost = {row["pair_id"] for row in rows(root, sql)}
    assert report.num_failed == len(lost) > 0
    assert set(keys(report.url)) == {row["pair_id"] for row in rows(root, "FROM pairs")} - lost
    failures = rows(root, "SELECT * FROM failures")
    assert {row["id"] for row in failures} == lost
    assert {row["error"] for row in failures} == {
        f"{crop['file']} is damaged: no whole JPEG or PNG of {crop['length']} bytes at "
        f"{crop['offset']}"
    }
    assert [row for row in check.check(root) if row["broken"]] == []
    assert verify(report.url) == []
    storage.write_bytes(file, intact)  # the same command again takes up what was repaired
    again = build(root, where="true", seed=1)
    assert not again.skipped and again.index.num_samples == whole.index.num_samples
    assert rows(root, "SELECT * FROM failures") == []


def test_a_missing_tar_of_crops_costs_its_capture(root: str) -> None:
    crop = rows(root, "SELECT * FROM crops ORDER BY crop_id")[0]
    storage.delete(storage.join(root, crop["file"]))
    report = build(root, where="true")
    assert report.num_failed == 32 and report.index.num_samples == 96
    [error] = rows(root, "SELECT DISTINCT error FROM failures")
    assert crop["file"] in error["error"] and "cannot be read" in error["error"]


def test_without_any_image_nothing_is_written(root: str) -> None:
    for file in storage.list_files(storage.join(root, "crops")):
        storage.delete(file)
    with pytest.raises(ValueError, match=r"none of the .* pairs could be written.*cannot be read"):
        build(root)
    assert not storage.exists(storage.join(root, "shards"))


def test_a_whole_set_has_no_problems(root: str) -> None:
    assert verify(build(root).url) == []


def test_verify_names_a_flipped_byte(root: str) -> None:
    url = build(root).url
    shard = read_index(url).shards[1]
    damage(storage.join(url, shard.name), lambda data: data.__setitem__(700, data[700] ^ 1))
    problems = verify(url)
    assert {problem["shard"] for problem in problems} == {shard.name}
    assert "has sha256" in problems[0]["problem"]


def test_verify_names_damaged_images_arrays_and_descriptions(root: str) -> None:
    url = build(root).url
    tar_url = storage.join(url, read_index(url).shards[0].name)
    first, second, third, fourth = peek(url, 4)
    data = storage.read_bytes(tar_url)
    data = data.replace(first.files["a.jpg"], b"x" * len(first.files["a.jpg"]))
    keypoints = third.files["keypoints.npy"]
    data = data.replace(keypoints, keypoints.replace(b"f4", b"i4"))
    foreground = fourth.files["foreground.npy"]
    data = data.replace(foreground, b"x" * len(foreground))
    data = data.replace(second.files["json"], b"{" * len(second.files["json"]))
    storage.write_bytes(tar_url, data)
    found = {(problem["sample"], problem["problem"]) for problem in verify(url)}
    assert (first.key, "a.jpg does not decode") in found
    assert any(key == second.key and "no readable JSON" in text for key, text in found)
    wrong = "its keypoints.npy holds (2, 17, 3) int32, not (2, K, 3) float32"
    assert (third.key, wrong) in found
    assert any(key == fourth.key and "foreground.npy is no array" in text for key, text in found)


def test_verify_names_a_file_that_is_not_there_once(root: str, tmp_path: Path) -> None:
    url = build(root).url
    shard = read_index(url).shards[0]
    tar_url = storage.join(url, shard.name)
    for name in EXTENSIONS:
        whole = storage.read_bytes(tar_url)
        buffer = io.BytesIO()
        with (
            tarfile.open(fileobj=io.BytesIO(whole)) as before,
            tarfile.open(fileobj=buffer, mode="w") as after,
        ):
            members = before.getmembers()
            lost = next(member for member in members if member.name.endswith(f".{name}"))
            for member in members:
                if member is not lost:
                    after.addfile(member, before.extractfile(member))
        storage.write_bytes(tar_url, buffer.getvalue())
        key = lost.name.split(".")[0]
        [problem] = [row["problem"] for row in verify(url) if row["sample"] == key]
        assert problem.startswith("has the files ") and name not in problem.split(", not ")[0]
        storage.write_bytes(tar_url, whole)


def change_index(url: str, **values: Any) -> None:
    """Write the index anew with other values; None takes one away."""
    index_url = storage.join(url, "index.json")
    raw = {**json.loads(storage.read_text(index_url)), **values}
    kept = {name: value for name, value in raw.items() if value is not None}
    storage.write_text(index_url, json.dumps(kept))


def test_a_set_is_held_against_the_columns_of_its_own_time(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = tuple(name for name in JSON_COLUMNS if name != "occlusion_max")
    with monkeypatch.context() as patch:
        for module in ("build", "tars"):
            patch.setattr(f"shards.{module}.JSON_COLUMNS", earlier)
        url = build(root).url
    assert read_index(url).columns == earlier and verify(url) == []
    change_index(url, columns=list(JSON_COLUMNS))
    problems = verify(url)
    assert len(problems) == read_index(url).num_samples
    assert {row["problem"] for row in problems} == {"its JSON lacks occlusion_max"}
    change_index(url, columns=None)  # as those who built it before columns were recorded
    assert read_index(url).columns == () and verify(url) == []


def test_verify_names_a_wrong_group(root: str) -> None:
    url = build(root).url
    raw = json.loads(storage.read_text(storage.join(url, "index.json")))
    groups = raw["shards"][0]["groups"]
    swapped = {groups.index("00"): "01", groups.index("01"): "00"}
    raw["shards"][0]["groups"] = "".join(
        swapped.get(i, groups[i : i + 2]) for i in range(0, len(groups), 2)
    )
    storage.write_text(storage.join(url, "index.json"), json.dumps(raw))
    problems = verify(url)
    assert {problem["sample"] for problem in problems} == {keys(url)[i // 2] for i in swapped}
    assert all("tiny cross_" in problem["problem"] for problem in problems)


def test_verify_names_a_truncated_a_missing_and_a_foreign_tar(root: str) -> None:
    url = build(root).url
    cut, gone, *_ = read_index(url).shards
    before, torn = peek(url, 10)[-2:]
    tar = storage.read_bytes(storage.join(url, cut.name))
    storage.write_bytes(storage.join(url, cut.name), tar[: tar.index(torn.files["b.jpg"]) + 100])
    storage.delete(storage.join(url, gone.name))
    storage.write_bytes(storage.join(url, "other.tar"), b"")
    found = [(problem["shard"], problem["problem"]) for problem in verify(url)]
    assert ("other.tar", "is not in the index: a build was stopped; run it again") in found
    assert (gone.name, "is missing: build the set again") in found
    assert any(name == cut.name and f"the index says {cut.bytes}" in text for name, text in found)
    [last] = [row["problem"] for row in verify(url) if row["sample"] == before.key]
    assert last == "is sample 9 of 20 and the last that is whole: unexpected end of data"
    storage.delete(storage.join(url, "other.tar"))
    assert not build(root).skipped and verify(url) == []  # building again repairs it


def test_a_flipped_byte_is_repaired_by_deleting_the_tar(root: str) -> None:
    url = build(root).url
    wanted = digests(url)
    tar_url = storage.join(url, read_index(url).shards[0].name)
    damage(tar_url, lambda data: data.__setitem__(700, data[700] ^ 1))
    storage.delete(tar_url)
    build(root)
    assert digests(url) == wanted


INDEX = ShardIndex(
    name="toy",
    query="true",
    seed=0,
    num_samples=3,
    samples_by_kind={"cross_view": 3},
    crop_px=64,
    shards=(
        ShardEntry(
            name="train-000000.tar",
            split="train",
            samples=3,
            bytes=1,
            sha256="0" * 64,
            groups="000100",
        ),
    ),
    groups=(
        Group(dataset="toy", kind="cross_view", part="body"),
        Group(dataset="toy", kind="cross_view", part="left_hand"),
    ),
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 1}, "has format 1 but this version reads 4"),
        ({"format": None}, "is not the index of a shard set"),
        ({"num_samples": 4}, "4 samples but 3 in its shards"),
        ({"crop_px": None}, "crop_px"),
        ({"shards": [{"name": "x"}]}, "is damaged"),
        ({"shards": [{**vars(INDEX.shards[0]), "name": "../x.tar"}]}, "is not a file name"),
        ({"shards": [{**vars(INDEX.shards[0]), "split": "test"}]}, "unknown split 'test'"),
        ({"shards": [{**vars(INDEX.shards[0]), "groups": "0001"}]}, "4 digits .* for 3 samples"),
        ({"shards": [{**vars(INDEX.shards[0]), "groups": "00 100"}]}, "not pairs of lower-case"),
        ({"shards": [{**vars(INDEX.shards[0]), "groups": "000200"}]}, "of group 2 of 2"),
        ({"groups": [vars(INDEX.groups[0])] * 2}, "one is there twice"),
        ({"groups": None}, "is damaged: 'groups'"),
        ({"samples_by_kind": {"cross_view": 2, "cross_pose": 1}}, "but its groups have"),
    ],
)
def test_a_wrong_index_is_refused_in_one_sentence(change: dict[str, Any], message: str) -> None:
    raw = {**json.loads(INDEX.to_json()), **change}
    text = json.dumps({name: value for name, value in raw.items() if value is not None})
    with pytest.raises(ValueError, match=message):
        ShardIndex.from_json(text)


def test_a_folder_without_index_is_no_shard_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a shard set"):
        read_index(str(tmp_path))
    (tmp_path / "index.json").write_text('{"format": 1, ')
    with pytest.raises(ValueError, match="is damaged: not JSON"):
        read_index(str(tmp_path))


def test_an_index_needs_neither_plan_nor_config() -> None:
    raw = json.loads(INDEX.to_json())
    for name in ("plan", "config", "num_failed"):
        del raw[name]
    assert ShardIndex.from_json(json.dumps(raw)) == INDEX


def test_the_format_needs_no_heavy_package() -> None:
    code = (
        "import sys, shards.format, shards.labels, shards.pairs; "
        "print({'duckdb', 'pyarrow', 'cv2', 'torch'} & set(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout.strip() == "set()", result.stderr


# The command line


def test_the_commands_build_list_show_and_check(root: str, tmp_path: Path) -> None:
    where = "score > 0.2"
    built = run("build", "--root", root, "--dataset", "tiny", "--where", where, "--format", "json")
    counts = {row["what"]: row["amount"] for row in built}
    url = f"{root}/shards/tiny"
    assert counts["pairs written"] == read_index(url).num_samples
    listed = run("ls", "--root", root, "--format", "json")
    assert listed[0]["url"] == "shards/tiny" and listed[0]["query"] == where
    assert [row["name"] for row in run("ls", url, "--format", "json")] == [
        shard.name for shard in read_index(url).shards
    ]
    sheet = tmp_path / "sheet.png"
    seen = run("peek", url, "-n", "5", "--sheet", str(sheet), "--format", "json")
    assert [row["pair_id"] for row in seen] == keys(url)[:5]
    image = cv2.imread(str(sheet))
    assert image is not None and image.shape == (2 * (SHEET_PX + 18), 4 * 2 * SHEET_PX, 3)
    assert run("verify", url, "--format", "json") == []


def test_each_part_has_a_set_of_its_own_below_one_name(root: str, tmp_path: Path) -> None:
    mix_parts(root)
    out = f"{tmp_path}/sets/mine"
    command = ("build", "--root", root, "--part", "each", "--out", f"{out}/", "--where")
    run(*command, "true", "--format", "json")
    groups = {ending: read_index(f"{out}{ending}").groups for ending in ("", "-hands")}
    found = {ending: {group.part for group in of_set} for ending, of_set in groups.items()}
    assert found == {"": {"body"}, "-hands": {"left_hand"}}
    assert len(rows(root, "SELECT * FROM shard_sets")) == 2
    run(*command, "part = 'body'", "--format", "json")  # and what has no pairs any more is deleted
    assert storage.list_files(f"{out}-hands") == []
    assert len(rows(root, "SELECT * FROM shard_sets")) == 1
    before = keys(out)
    run(*command, "true", "--format", "json", "--dataset", "gone")  # another's set stays
    assert keys(out) == before and len(rows(root, "SELECT * FROM shard_sets")) == 1


def run(*arguments: str) -> list[dict[str, Any]]:
    """Run a command in this process; return the JSON lines that it prints."""
    out = io.StringIO()
    parsed = build_parser().parse_args(arguments)
    stdout, sys.stdout = sys.stdout, out
    try:
        assert parsed.run(parsed) == 0
    finally:
        sys.stdout = stdout
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_mistakes_are_one_sentence_and_an_exit_code(
    root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = build(root).url
    assert call("verify", url) == 0
    damage(storage.join(url, read_index(url).shards[0].name), lambda data: data.append(0))
    assert call("verify", url) == 1
    capsys.readouterr()
    mistakes = [
        ("build", "--root", root, "--where", "score >"),
        ("build", "--root", root, "--where", "score >", "--part", "each"),
        ("build", "--root", root, "--set", "colour=red"),
        ("build", "--root", root, "--set", "samples_per_shard=0"),
        ("build", "--root", f"{root}/nowhere"),
        ("ls", root),
        ("peek", url, "--sheet", "sheet.gif"),
    ]
    for mistake in mistakes:
        assert call(*mistake) == 1
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1, mistake
        assert "score >" not in mistake or "is not a condition over the columns of pairs" in said
    with pytest.raises(SystemExit, match="2"):
        call("build", "--colour", "red")


def call(*arguments: str) -> int:
    return main(build_parser(), list(arguments))


def test_every_command_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("build", "ls", "peek", "verify"):
        with pytest.raises(SystemExit, match="0"):
            call(command, "--help")
        assert f"Example:\n  python -m shards {command}" in capsys.readouterr().out
