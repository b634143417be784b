"""Decoding: the right frames at the right times, by either decoder; what hangs or breaks costs only
itself.
"""

import os
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

import mining.decoding.decoders as decoders_module
from mining.decoding.decoders import PyAVDecoder, nearest
from mining.decoding.images import ImageSequenceReader, image_sequence_uri
from mining.decoding.timeline import read_timeline
from mining.decoding.video import DecodeConfig, VideoReader
from mining.sources.base import ViewInfo
from tests.forbidden import forbid
from tests.videos import cut_with_edit_list, grey_of, number_of, write_video

GENERATOR = np.random.default_rng(3)
UNEVEN_S = np.cumsum(GENERATOR.uniform(0.01, 0.08, 100)) + 1.5  # the first pts is not 0
DROPPED_S = np.delete(np.arange(110) / 30, [5, 20, 21, 22, 23, 24, 25, 40, 77, 78])
OPEN_GROUPS = {"x264-params": "open-gop=1:bframes=3:keyint=12:scenecut=0"}


def info_of(path: Path) -> ViewInfo:
    return VideoReader(DecodeConfig()).probe(str(path))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("videos") / "known.mp4")


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_each_decoder_gives_the_frames_of_the_times_asked(video: Path, decoder: str) -> None:
    reader = VideoReader(DecodeConfig(decoders=(decoder,)))
    frames = list(reader.frames(str(video), [0.0, 0.5, 1.02, 1.95]))
    assert [frame.index for frame in frames] == [0, 10, 20, 39]
    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 0.5, 1.0, 1.95])
    for frame in frames:
        assert abs(int(frame.image[10:50, 5:40].mean()) - grey_of(frame.index)) <= 3
        red, green, blue = frame.image[8:24, 60:90].mean(axis=(0, 1))
        assert red > 200 and green < 60 and blue < 60, "colours must come as RGB"


def test_a_rate_above_the_videos_gives_each_frame_once(video: Path) -> None:
    frames = list(VideoReader(DecodeConfig()).frames(str(video), [k / 50 for k in range(100)]))
    assert [frame.index for frame in frames] == list(range(40))


def test_nearest_agrees_with_a_plain_search() -> None:
    starts = np.array([0.0, 0.1, 0.25, 0.3, 0.9])
    times = np.linspace(0, 1.2, 57)
    plain = [min(range(len(starts)), key=lambda i: abs(starts[i] - t)) for t in times]
    assert nearest(starts, times).tolist() == plain
    assert nearest(np.array([0.0]), [0.0, 5.0]).tolist() == [0, 0]


def test_av1_is_read_although_decord_cannot(tmp_path: Path) -> None:
    path = write_video(tmp_path / "modern.mp4", codec="libsvtav1")
    frames = list(VideoReader(DecodeConfig()).frames(str(path), [0.0, 1.0]))
    assert [frame.index for frame in frames] == [0, 20]


def test_a_video_cut_short_gives_its_frames_and_then_says_where_it_ends(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mkv", num_frames=200, fps=20)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    frames = []
    with pytest.raises(ValueError, match=r"cut.mkv broke \d+ frames before the end"):
        for frame in VideoReader(DecodeConfig()).frames(str(cut), [k / 10 for k in range(100)]):
            frames.append(frame)
    indices = [frame.index for frame in frames]
    assert len(indices) > 10 and indices == sorted(set(indices))


def test_probe_reads_size_rate_and_length(video: Path) -> None:
    info = info_of(video)
    assert (info.width_px, info.height_px, info.fps, info.num_frames) == (96, 64, 20.0, 40)
    assert info.duration_s == pytest.approx(2.0)


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100])
def test_what_is_no_video_is_said_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.mp4 is not a video that can be read"):
        info_of(path)
    with pytest.raises(ValueError, match=r"broken\.mp4 broke 2 frames before the end"):
        list(VideoReader(DecodeConfig()).frames(str(path), [0.0, 1.0]))


def test_a_decoder_that_hangs_is_killed_and_the_next_one_goes_on(
    tmp_path: Path, video: Path
) -> None:
    fifo = tmp_path / "hangs.mp4"
    os.mkfifo(fifo)  # opening it for reading waits for a writer that never comes
    reader = VideoReader(DecodeConfig(frame_timeout_s=3.0))
    started = time.monotonic()
    with pytest.raises(ValueError, match="no frame for 3 s"):
        list(reader.frames(str(fifo), [0.0]))
    assert time.monotonic() - started < 20
    assert len(list(reader.frames(str(video), [0.0]))) == 1, "the reader must work afterwards"


def test_a_decoder_that_eats_memory_is_stopped(video: Path) -> None:
    reader = VideoReader(DecodeConfig(memory_gb=0.05, decoders=("pyav",)))
    with pytest.raises(ValueError, match=r"known.mp4 broke 1 frames before the end"):
        list(reader.frames(str(video), [0.0]))


def test_images_are_read_in_natural_order(tmp_path: Path) -> None:
    import cv2

    for k in range(12):
        cv2.imwrite(str(tmp_path / f"frame{k}.png"), np.full((20, 30, 3), 10 * k, np.uint8))
    uri = image_sequence_uri(str(tmp_path), fps=4.0)
    reader = ImageSequenceReader()
    assert reader.probe(uri).num_frames == 12
    frames = list(reader.frames(uri, [0.0, 1.0, 2.5]))
    assert [(frame.index, int(frame.image[0, 0, 0])) for frame in frames] == [
        (0, 0),
        (4, 40),
        (10, 100),
    ]


def test_an_image_that_may_not_be_read_is_said_after_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    for k in range(3):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.full((20, 30, 3), 10 * k, np.uint8))
    forbid(monkeypatch, "1.png")
    uri = image_sequence_uri(str(tmp_path), fps=1.0)
    indices = []
    with pytest.raises(ValueError, match=r"^1\.png cannot be read: Permission denied$"):
        for frame in ImageSequenceReader().frames(uri, [0.0, 1.0, 2.0]):
            indices.append(frame.index)
    assert indices == [0]


def test_a_folder_of_images_that_vanished_is_said(tmp_path: Path) -> None:
    uri = image_sequence_uri(str(tmp_path / "gone"), fps=1.0)
    with pytest.raises(ValueError, match="gone holds no images"):
        next(ImageSequenceReader().frames(uri, [0.0]))


def test_the_child_imports_no_framework() -> None:
    import subprocess

    code = "import mining.decoding.child, sys; print({'torch', 'ray'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize("turn", [(0, 1, -1, 0), (0, -1, 1, 0), (-1, 0, 0, -1)])
def test_a_phone_held_sideways_gives_upright_frames_by_both_decoders(
    video: Path, tmp_path: Path, turn: tuple[int, int, int, int]
) -> None:
    data = bytearray(video.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # of the track's header, 16.16 numbers in rows of three
    for place, value in zip((0, 4, 12, 16), turn, strict=True):
        data[matrix + place : matrix + place + 4] = int(value * 65536).to_bytes(
            4, "big", signed=True
        )
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data)
    images = {}
    for decoder in ("decord", "pyav"):
        reader = VideoReader(DecodeConfig(decoders=(decoder,)))
        images[decoder] = next(iter(reader.frames(str(turned), [0.0]))).image
    info = info_of(turned)
    assert images["pyav"].shape == (info.height_px, info.width_px, 3)
    assert images["decord"].shape == images["pyav"].shape
    assert np.abs(images["decord"].astype(int) - images["pyav"]).mean() < 3


def test_a_video_that_tells_no_length_is_counted(tmp_path: Path) -> None:
    """As browsers write them: a stream without a duration in its header."""
    whole = write_video(tmp_path / "whole.mkv", num_frames=60)
    with (
        av.open(str(whole)) as source,
        av.open(
            str(tmp_path / "live.webm"), "w", format="matroska", options={"live": "1"}
        ) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    assert info_of(tmp_path / "live.webm").num_frames == 60


@pytest.mark.parametrize("decoders", [("decord",), ("pyav",)])
@pytest.mark.parametrize(
    ("name", "times_s", "codec", "options"),
    [
        ("uneven.mp4", UNEVEN_S, "libx264", {"bf": "2"}),
        ("uneven.mkv", UNEVEN_S, "libx264", {"bf": "2"}),
        ("uneven.webm", UNEVEN_S, "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
        ("dropped.mp4", DROPPED_S, "libx264", {"bf": "2"}),
        ("dropped.ts", DROPPED_S, "libx264", {"bf": "2"}),
        ("open.mp4", DROPPED_S, "libx264", OPEN_GROUPS),
        ("old.avi", None, "mpeg4", {"bf": "2"}),
        ("newer.avi", None, "libx264", {"bf": "2"}),
        ("still.avi", None, "mjpeg", {}),
        ("disc.mpg", None, "mpeg2video", {"bf": "2"}),
    ],
)
def test_frames_are_those_shown_nearest_in_files_of_every_kind(
    tmp_path: Path,
    name: str,
    times_s: np.ndarray | None,
    codec: str,
    options: dict[str, str],
    decoders: tuple[str, ...],
) -> None:
    path = write_video(tmp_path / name, 100, 30, codec, times_s=times_s, options=options)
    shown_s = np.arange(100) / 30 if times_s is None else times_s - times_s[0]
    reader = VideoReader(DecodeConfig(decoders=decoders))
    info = reader.probe(str(path))
    assert info.num_frames == len(shown_s)
    assert info.duration_s == pytest.approx(shown_s[-1], abs=0.1)
    for first_s, step_s in ((0.0, 0.02), (0.0, 0.1), (1.31, 0.25), (2.91, 0.05)):
        asked_s = np.arange(first_s, shown_s[-1], step_s)
        try:
            frames = list(reader.frames(str(path), asked_s.tolist()))
        except ValueError as error:
            assert decoders == ("decord",) and "it numbers frames" in str(error)
            return  # decord must say that it cannot, and never give another frame
        plain = [int(np.argmin(np.abs(shown_s - t))) for t in asked_s]
        if name.startswith("uneven") or times_s is None:  # no time asked is as near to two frames
            assert [frame.index for frame in frames] == list(dict.fromkeys(plain))
        assert [number_of(frame.image) for frame in frames] == [frame.index for frame in frames]
        for frame in frames:
            assert frame.time_s == pytest.approx(shown_s[frame.index], abs=1.1e-3)


@pytest.mark.parametrize("decoders", [("pyav",), ("decord", "pyav")])
def test_frames_that_an_edit_list_cuts_off_are_not_there(
    tmp_path: Path, decoders: tuple[str, ...]
) -> None:
    whole = write_video(tmp_path / "whole.mp4", 60, 30, options={"bf": "2"})
    cut = cut_with_edit_list(whole, tmp_path / "cut.mp4", cut_s=0.3)
    reader = VideoReader(DecodeConfig(decoders=decoders))
    assert reader.probe(str(cut)).num_frames == 51
    frames = list(reader.frames(str(cut), [0.0, 0.5, 1.0]))
    assert [number_of(frame.image) - 9 for frame in frames] == [0, 15, 30]
    assert [frame.index for frame in frames] == [0, 15, 30]


def test_the_rate_of_a_video_with_dropped_frames_is_its_mean(tmp_path: Path) -> None:
    path = write_video(tmp_path / "dropped.mkv", times_s=DROPPED_S)
    info = info_of(path)
    assert info.fps == pytest.approx(99 / DROPPED_S[-1], rel=1e-3)
    assert info.num_frames == 100


def test_decoding_begins_at_the_keyframe_before_what_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "long.mp4", 240, 30, options={"bf": "2"})
    decoded = []
    decode = decoders_module._decode_past_damage

    def counting(container):
        for frame in decode(container):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(decoders_module, "_decode_past_damage", counting)
    timeline = read_timeline(str(path))
    [frame] = PyAVDecoder().frames(str(path), timeline, [7.0])
    assert (frame.index, number_of(frame.image)) == (210, 210)
    assert len(decoded) <= 16, "a group has 12 frames"


def test_a_damaged_keyframe_costs_its_group_and_moves_no_other_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "damaged.mkv", 96, 30, options={"bf": "0"})
    timeline = read_timeline(str(path))
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        position, size = packets[36].pos, packets[36].size
    assert timeline.is_key[36] and position
    data = bytearray(path.read_bytes())
    start = data.index(bytes(packets[36])[:64], position)
    data[start + 4 : start + size] = bytes(size - 4)
    path.write_bytes(data)
    frames = list(VideoReader(DecodeConfig(decoders=("pyav",))).frames(str(path), [0.5, 2.0, 3.0]))
    assert [(frame.index, number_of(frame.image)) for frame in frames] == [
        (15, 15),
        (60, 60),
        (90, 90),
    ]
