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

from mining.decoding.decoders import nearest, probe_video
from mining.decoding.images import ImageSequenceReader, image_sequence_uri
from mining.decoding.video import DecodeConfig, VideoReader
from tests.videos import grey_of, write_video


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
    info = probe_video(str(video))
    assert (info.width_px, info.height_px, info.fps, info.num_frames) == (96, 64, 20.0, 40)
    assert info.duration_s == pytest.approx(2.0)


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100])
def test_what_is_no_video_is_said_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.mp4 is not a video that can be read"):
        probe_video(str(path))
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
    info = probe_video(str(turned))
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
    assert probe_video(str(tmp_path / "live.webm")).num_frames == 60
