"""The page of pairs as it is written: what it shows, its images, and text that stays text."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from catalog import parts
from catalog.__main__ import build_parser
from catalog.browse import page
from catalog.browse.encode import keypoint_shares, to_json
from catalog.browse.entries import find_entries
from catalog.browse.page import write_page
from catalog.commands import main
from catalog.query import connect, select
from tests.browse_fixture import EVIL, EVIL_REASON, image_bgr, write_browse_catalog


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("browse"))
    write_browse_catalog(folder, num_kept=120, num_rejected=60, num_rejected_crops=30)
    return folder


def read_data(out: Path) -> dict[str, Any]:
    """The data of the page in a folder, as its script tag would give it."""
    name = re.search(r'<script src="([^"]+)"', (out / "index.html").read_text())
    assert name
    text = (out / name[1]).read_text()
    assert text.startswith("window.crosspairsData = ") and text.endswith(";\n")
    return json.loads(text.removeprefix("window.crosspairsData = ").removesuffix(";\n"))


def decode(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=dtype)


def texts(column: dict[str, Any]) -> list[str]:
    return [column["values"][code] for code in decode(column["codes"], "<u4")]


def facet(data: dict[str, Any], name: str) -> list[str]:
    return texts(next(each for each in data["entries"]["facets"] if each["name"] == name))


def crop_pixels(out: Path, data: dict[str, Any], crop: int) -> np.ndarray:
    """One crop's cell of its sheet, BGR."""
    columns, cell_px = data["sheets"]["columns"], data["sheets"]["cell_px"]
    sheet, cell = divmod(crop, columns**2)
    image = cv2.imread(str(out / f"{data['sheets']['prefix']}{sheet:05d}.jpg"))
    top, left = cell // columns * cell_px, cell % columns * cell_px
    return image[top : top + cell_px, left : left + cell_px]


def test_the_page_has_every_pair_with_its_terms_and_crops(root: str, tmp_path: Path) -> None:
    report = write_page(root, str(tmp_path))
    assert report.shown == {"kept": 120, "rejected pair": 60, "rejected crop": 30} == report.totals
    data = read_data(tmp_path)
    entries, crops = data["entries"], data["crops"]
    rows = {
        row["pair_id"]: row
        for table in ("pairs", "rejected_pairs")
        for row in select(root, f"SELECT * FROM {table}").to_pylist()
    }
    terms = {term["name"]: decode(term["values"], "<f4") for term in entries["terms"]}
    assert {"score", "view_angle_deg", "appearance_similarity", "phash_distance"} <= terms.keys()
    place_a, place_b = decode(entries["crop_a"], "<i4"), decode(entries["crop_b"], "<i4")
    statuses, reasons = facet(data, "status"), facet(data, "reason")
    for i, entry_id in enumerate(entries["ids"]):
        if statuses[i] == "rejected crop":
            assert crops["detection_ids"][place_a[i]] == entry_id and place_b[i] == -1
            assert reasons[i] == "ambiguous"
            continue
        row = rows.pop(entry_id)
        assert (crops["ids"][place_a[i]], crops["ids"][place_b[i]]) == (
            row["crop_a"],
            row["crop_b"],
        )
        assert reasons[i] == (row.get("reason") or "")
        for name, values in terms.items():
            want = row.get(name)
            assert (
                values[i] == pytest.approx(want, rel=1e-6)
                if want is not None
                else (np.isnan(values[i]))
            )
    assert not rows


def test_each_crop_lies_once_on_the_sheets_and_shows_its_image(root: str, tmp_path: Path) -> None:
    write_page(root, str(tmp_path), cell_px=64)
    data = read_data(tmp_path)
    crops = data["crops"]
    assert len(set(crops["ids"])) == crops["count"] == 2 * 120 + 30
    frames = decode(crops["numbers"]["frame_index"], "<f4")  # the fixture's crop number
    for crop in (0, 1, 100, crops["count"] - 1):
        pixels = crop_pixels(tmp_path, data, crop)
        assert pixels.shape == (64, 64, 3)
        np.testing.assert_allclose(
            pixels[:, 4:28].mean(axis=(0, 1)), image_bgr(int(frames[crop])), atol=6
        )
        assert pixels[:, 36:60].mean() < 12


def test_keypoints_are_shares_of_the_crop_for_bodies_and_hands(root: str, tmp_path: Path) -> None:
    write_page(root, str(tmp_path))
    crops = read_data(tmp_path)["crops"]
    counts = decode(crops["num_keypoints"], "u1")
    assert set(counts) == {17, 21}
    points = decode(crops["keypoints"], "<u2").reshape(-1, 2) / 65535 * 3 - 1
    confidences = decode(crops["confidences"], "u1") / 255
    starts = np.cumsum([0, *counts.tolist()])
    rows = {row["crop_id"]: row for row in select(root, "SELECT * FROM crops").to_pylist()}
    for i, crop_id in enumerate(crops["ids"]):
        if crop_id not in rows:
            continue
        box = np.array(rows[crop_id]["box_px"])
        want = np.array(rows[crop_id]["keypoints_px"]).reshape(-1, 3)
        mine = slice(starts[i], starts[i + 1])
        np.testing.assert_allclose(points[mine], (want[:, :2] - box[:2]) / 200, atol=1e-4)
        np.testing.assert_allclose(confidences[mine], want[:, 2], atol=1 / 255)


def test_keypoints_that_are_missing_or_not_finite_have_no_confidence() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], dtype=np.float32)
    counts, shares, confidences = keypoint_shares(
        [None, [5.0, 2.0, 0.5, float("nan"), 1.0, 0.9]], boxes
    )
    assert counts.tolist() == [0, 2]
    assert shares.tolist() == [[0.5, 0.2], [0.0, 0.0]] and confidences.tolist() == [0.5, 0.0]


def test_a_larger_catalog_is_sampled_evenly_and_always_in_the_same_way(root: str) -> None:
    def ids(limit: int, seed: int = 0) -> list[tuple[str, str | None, str]]:
        with connect(root) as connection:
            found = find_entries(connection, dataset=None, where="true", limit=limit, seed=seed)
        rows = found.rows.to_pylist()
        assert found.totals == {"kept": 120, "rejected pair": 60, "rejected crop": 30}
        return [(row["status"], row["reason"], row["entry_id"]) for row in rows]

    sample = ids(48)
    assert sample == ids(48) != ids(48, seed=1)
    assert sum(status == "kept" for status, _, _ in sample) == 24
    reasons = [reason for _, reason, _ in sample if reason]
    assert set(reasons) == {"too_similar", "too_far", EVIL_REASON, "ambiguous"}
    # a small limit still shows each reason; places that rejects do not need go to kept pairs
    assert min(reasons.count(reason) for reason in set(reasons)) >= 2
    assert len(ids(200)) == 200 and len(ids(1000)) == 210


def test_a_condition_and_a_dataset_choose_what_is_shown(root: str, tmp_path: Path) -> None:
    write_page(root, str(tmp_path), where="part = 'left_hand' AND status = 'kept'", dataset=EVIL)
    data = read_data(tmp_path)
    assert set(facet(data, "part")) == {"left_hand"} and set(facet(data, "status")) == {"kept"}
    with pytest.raises(ValueError, match="not a condition over the columns of pairs"):
        write_page(root, str(tmp_path), where="no_such_column > 1")
    with pytest.raises(ValueError, match="no dataset 'other', only"):
        write_page(root, str(tmp_path), dataset="other")
    with pytest.raises(ValueError, match="at least 1 entry"):
        write_page(root, str(tmp_path), limit=0)
    with pytest.raises(ValueError, match="16 to 768 px"):
        write_page(root, str(tmp_path), cell_px=2)


def test_text_of_the_catalog_stays_text(root: str, tmp_path: Path) -> None:
    write_page(root, str(tmp_path))
    html = (tmp_path / "index.html").read_text()
    data_text = next(tmp_path.glob("data-*.js")).read_text()
    assert EVIL not in html and EVIL_REASON not in html
    assert not set("<>&\u2028\u2029") & set(data_text)
    data = read_data(tmp_path)
    assert set(facet(data, "dataset")) == {EVIL} and EVIL_REASON in facet(data, "reason")
    assert json.loads(to_json({"a\u2028<": ["&", float("nan")]})) == {"a\u2028<": ["&", None]}
    for script in (Path(page.__file__).parent / "static").glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b", (script.read_text())
        ), script


def test_the_policy_allows_the_page_its_own_script_and_style_and_no_network() -> None:
    html = page.render("data-0.js")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy
    for tag in ("script", "style"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
        assert len(inside) == 1
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert "default-src 'none'" in policy[1] and "http" not in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r"https?://|//[a-z]+\.", html)


def test_a_second_page_replaces_the_first_and_leaves_other_files(root: str, tmp_path: Path) -> None:
    def snapshot() -> dict[str, bytes]:
        return {
            str(path.relative_to(tmp_path)): path.read_bytes()
            for path in tmp_path.rglob("*")
            if path.is_file()
        }

    write_page(root, str(tmp_path))
    first = snapshot()
    write_page(root, str(tmp_path))
    assert snapshot() == first
    (tmp_path / "notes.txt").write_text("mine")
    write_page(root, str(tmp_path), where="part = 'body'")
    second = snapshot()
    assert second.pop("notes.txt") == b"mine"
    assert set(first) & set(second) == {"index.html"}
    assert sum(name.startswith("data-") for name in second) == 1
    write_page(root, str(tmp_path), where="false")
    assert read_data(tmp_path)["entries"]["count"] == 0


def test_a_page_that_could_not_be_finished_leaves_the_earlier_one_whole(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_page(root, str(tmp_path))
    before = (tmp_path / "index.html").read_bytes()

    def stop(data_name: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(page, "render", stop)
    with pytest.raises(KeyboardInterrupt):
        write_page(root, str(tmp_path), where="part = 'body'")
    assert (tmp_path / "index.html").read_bytes() == before
    data = read_data(tmp_path)
    assert data["entries"]["count"] == 210 and crop_pixels(tmp_path, data, 200).size


def test_crops_that_cannot_be_read_are_named_and_stop_nothing(tmp_path: Path) -> None:
    write_browse_catalog(str(tmp_path), 8, 0, 0)
    tar = next((tmp_path / "crops").iterdir())
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])
    report = write_page(str(tmp_path))
    assert 4 <= report.num_unreadable <= 12 and report.shown["kept"] == 8
    unreadable = read_data(tmp_path / "browse")["sheets"]["unreadable"]
    assert len(unreadable) == report.num_unreadable
    assert all("damaged" in reason for reason in unreadable.values())
    tar.unlink()
    assert write_page(str(tmp_path)).num_unreadable == 16


def test_a_catalog_without_pairs_gives_a_page(tmp_path: Path) -> None:
    name = parts.PartName("c", "probe", "k")
    parts.commit(str(tmp_path), name, {"captures": [{"capture_id": "c", "dataset": "d"}]})
    assert write_page(str(tmp_path)).num_crops == 0
    with pytest.raises(ValueError, match="no catalog"):
        write_page(str(tmp_path / "nothing"))


def test_what_has_no_picture_is_counted(root: str, tmp_path: Path) -> None:
    write_page(root, str(tmp_path))
    data = read_data(tmp_path)
    assert [row["stage"] for row in data["stages"]] == ["decode", "identify"]
    assert {"what": "failed", "stage": "decode", "reason": EVIL_REASON, "number": 3,
            "example": EVIL} in data["dropped"]  # fmt: skip
    assert next(row for row in data["dropped"] if row["reason"] == "ambiguous")["number"] == 30


def test_the_command_says_what_the_page_shows_and_where_it_is(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["browse", "--root", root, "--out", str(tmp_path), "--limit", "100"]
    assert main(build_parser(), arguments) == 0
    printed = capsys.readouterr().out
    assert "of 120" in printed and str(tmp_path / "index.html") in printed
    assert f"catalog trace --root {root}" in read_data(tmp_path)["trace"]
    assert main(build_parser(), ["browse", "--root", "memory://nowhere"]) == 1
    assert "--out" in capsys.readouterr().err
