"""Qualisys calibrations give back the cameras they were written from, and wrong files a clear
sentence.
"""

import numpy as np
import pytest

from mining.sources.qualisys import read_qca
from tests.skeletons import HEIGHT_PX, WIDTH_PX, ring_of_cameras


def written(cameras, **changes):
    """A calibration file of cameras named a, b, ...; `changes` replace text in it."""
    elements = []
    for serial, camera in zip("abcdef", cameras, strict=False):
        axes = np.diag([1.0, -1.0, -1.0]) @ camera.world_from_cam[:3, :3].T
        rotation = " ".join(
            f'r{i + 1}{j + 1}="{axes[i, j]:.12f}"' for i in range(3) for j in range(3)
        )
        x, y, z = camera.centre_world * 1000
        (fx, skew, cx), (_, fy, cy), _ = camera.intrinsics
        k1, k2, p1, p2, k3 = camera.distortion
        elements.append(f"""
  <camera active="1" serial="{serial}" viewrotation="0">
   <fov_video left="0" top="0" right="{WIDTH_PX - 1}" bottom="{HEIGHT_PX - 1}"/>
   <transform {rotation} x="{x}" y="{y}" z="{z}"/>
   <intrinsic focalLengthU="{fx * 64}" focalLengthV="{fy * 64}" skew="{skew}"
    centerPointU="{(cx - 0.5) * 64}" centerPointV="{(cy - 0.5) * 64}" radialDistortion1="{k1}"
    radialDistortion2="{k2}" radialDistortion3="{k3}"
    tangentalDistortion1="{p1}" tangentalDistortion2="{p2}"/>
  </camera>""")
    text = f"<?xml version='1.0'?><calibration><cameras>{''.join(elements)}</cameras></calibration>"
    for old, new in changes.get("replace", {}).items():
        assert old in text
        text = text.replace(old, new)
    return text


def test_cameras_come_back_and_project_the_same():
    cameras = ring_of_cameras(4)
    found = read_qca(written(cameras))
    assert list(found) == ["a", "b", "c", "d"]
    points_world = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    for camera, again in zip(cameras, found.values(), strict=True):
        assert again.size_px == (WIDTH_PX, HEIGHT_PX)
        np.testing.assert_allclose(again.world_from_cam, camera.world_from_cam, atol=1e-9)
        np.testing.assert_allclose(
            again.project(points_world), camera.project(points_world), atol=1e-4
        )


def test_inactive_cameras_are_left_out():
    text = written(ring_of_cameras(2), replace={'active="1" serial="a"': 'active="0" serial="a"'})
    assert list(read_qca(text)) == ["b"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('serial="b"', 'serial="a"', "its own serial"),
        ('serial="b"', 'serial=""', "its own serial"),
        ('viewrotation="0"', 'viewrotation="90"', "viewrotation"),
        ("r11=", "q11=", "r11"),
        ('viewrotation="0"', 'viewrotation="x"', "viewrotation"),
        ('radialDistortion1="-0.05"', 'radialDistortion1="much"', "intrinsic"),
        ('radialDistortion1="-0.05"', 'radialDistortion1="nan"', "finite"),
        ("intrinsic ", "nothing ", "intrinsic"),
        ("fov_video", "fov_film", "fov_video"),
        ('active="1"', 'active="0"', "inactive"),
        ("</calibration>", "", "XML"),
        ("calibration", "settings", "settings"),
        ("<calibration>", "<!DOCTYPE a><calibration>", "document type"),
    ],
)
def test_wrong_files_are_told_in_a_sentence(old, new, said):
    with pytest.raises(ValueError, match=said):
        read_qca(written(ring_of_cameras(2), replace={old: new}))


def test_a_rotation_that_is_none_is_refused():
    cameras = ring_of_cameras(1)
    cameras[0].world_from_cam[:3, 0] *= 1.1
    with pytest.raises(ValueError, match="no rotation"):
        read_qca(written(cameras))


@pytest.mark.parametrize("text", ["", "x,y,z\n1,2,3", "{}", "<calibration/>"])
def test_text_of_another_kind_is_refused(text):
    with pytest.raises(ValueError, match="not a Qualisys calibration"):
        read_qca(text)
