"""SMPL, SMPL-X and MANO from files in the form they are released in, of every gender."""

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csc_matrix

from catalog.model_files import read_model_file
from tests.smplx_files import MESH, arrays, save
from training.bodies.registry import absent_genders, make_body
from training.bodies.rotations import axis_angle_to_matrix
from training.bodies.smplx_bodies import JOINT_NAMES

Array = np.ndarray


def plain_skinning(data: dict[str, Array], turns: Array, betas: Array) -> tuple[Array, Array]:
    """Skinning as its authors describe it, one joint and one vertex at a time."""
    rest = data["v_template"] + data["shapedirs"][:, :, :10] @ betas
    joints = data["J_regressor"] @ rest
    feature = np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
    rest = rest + data["posedirs"] @ feature
    parents = data["kintree_table"][0].astype(np.int64)
    posed: list[Array] = []
    for joint, turn in enumerate(turns):
        local = np.eye(4)
        local[:3, :3] = turn
        local[:3, 3] = joints[joint] - (joints[parents[joint]] if joint else 0)
        posed.append(posed[parents[joint]] @ local if joint else local)
    vertices = np.zeros_like(rest)
    for vertex, point in enumerate(rest):
        for joint, weight in enumerate(data["weights"][vertex]):
            moved = posed[joint][:3, :3] @ (point - joints[joint]) + posed[joint][:3, 3]
            vertices[vertex] += weight * moved
    return vertices, np.stack([pose[:3, 3] for pose in posed])


@pytest.mark.parametrize("name", ["mano", "smpl"])
def test_a_model_skins_as_its_authors_describe(name: str, tmp_path: Path) -> None:
    model, data = make_body(name, save(name, tmp_path)), arrays(name)
    generator = torch.Generator().manual_seed(1)
    turns = axis_angle_to_matrix(torch.randn(1, model.num_joints, 3, generator=generator) * 0.5)
    betas = torch.randn(1, 10, generator=generator)
    vertices, joints = plain_skinning(data, turns[0].double().numpy(), betas[0].double().numpy())
    output = model(turns, betas)
    assert np.abs(output.vertices_BV3[0].numpy() - (vertices - joints[0])).max() < 2e-5
    shoulder = {"mano": ("index1", 5), "smpl": ("left_shoulder", 5)}[name]
    found = output.keypoints_BK3[0, shoulder[1]].numpy()
    expected = joints[model.joint_names.index(shoulder[0])] - joints[0]
    assert np.abs(found - expected).max() < 2e-5


@pytest.mark.parametrize("name", ["smpl", "smplx", "mano"])
def test_keypoints_are_the_packages_joints_and_vertices(name: str, tmp_path: Path) -> None:
    model = make_body(name, save(name, tmp_path), num_vertices=200)
    output = model(model.mean_rotations_J33[None], model.mean_shape_S[None])
    assert output.vertices_BV3.shape == (1, 200, 3)
    assert output.keypoints_BK3.shape == (1, len(model.keypoint_names), 3)
    assert model.upsample(output.vertices_BV3).shape == (1, MESH[name][0], 3)
    whole = make_body(name, str(tmp_path))
    every = whole(model.mean_rotations_J33[None], model.mean_shape_S[None]).vertices_BV3[0]
    at = dict(zip(model.keypoint_names, output.keypoints_BK3[0], strict=True))
    vertex = {"smpl": ("left_ear", 583), "smplx": ("right_eye", 9929), "mano": ("little4", 671)}
    assert torch.allclose(at[vertex[name][0]], every[vertex[name][1]], atol=1e-6)


@pytest.mark.parametrize("name", ["smpl", "smplx"])
def test_few_vertices_of_all_genders_are_the_same_of_different_surfaces(
    name: str, tmp_path: Path
) -> None:
    few = make_body(name, save(name, tmp_path), num_vertices=20)
    male = make_body(name, save(name, tmp_path, "male"), num_vertices=20, gender="male")
    whole = make_body(name, str(tmp_path), gender="male")
    assert male.vertex_ids_V.tolist() == few.vertex_ids_V.tolist()
    pose = few.mean_rotations_J33[None], few.mean_shape_S[None]
    found = male(*pose).vertices_BV3
    assert torch.equal(found, whole(*pose).vertices_BV3[:, few.vertex_ids_V])
    assert (found - few(*pose).vertices_BV3).abs().max() > 0.1
    assert torch.equal(male.upsample(found), few.upsample(found))


def test_a_gender_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("smpl", "mano"):
        save(name, tmp_path)
    with pytest.raises(ValueError, match=r"SMPL's female model are needed .* SMPL_FEMALE\.npz"):
        make_body("smpl", str(tmp_path), gender="female")
    with pytest.raises(ValueError, match="MANO has no model of the gender 'male'"):
        make_body("mano", str(tmp_path), gender="male")
    with pytest.raises(ValueError, match="anny has no model of the gender 'male'"):
        make_body("anny", gender="male")
    assert absent_genders("smpl", str(tmp_path)).keys() == {"male", "female"}
    save("smpl", tmp_path, "male")
    assert absent_genders("smpl", str(tmp_path)).keys() == {"female"}


@pytest.mark.parametrize("name", MESH)
def test_every_joint_of_a_file_has_a_name(name: str) -> None:
    assert len(JOINT_NAMES[name]) == len(set(JOINT_NAMES[name])) == MESH[name][1]


def released_pickle(data: dict[str, Array], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """As SMPL and MANO are released: written by Python 2, with scipy's and chumpy's objects."""
    for module in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    array = type("Ch", (), {"__module__": "chumpy.ch"})
    select = type("Select", (), {"__module__": "chumpy.reordering"})
    monkeypatch.setattr(sys.modules["chumpy.ch"], "Ch", array, raising=False)
    monkeypatch.setattr(sys.modules["chumpy.reordering"], "Select", select, raising=False)
    held, chosen = array(), select()
    vars(held).update(x=data["shapedirs"], _dirty_vars=set(), _parents={})
    shape = data["shapedirs"].shape
    vars(chosen).update(a=held, idxs=np.arange(held.x.size), preferred_shape=shape)
    released = {
        **data,
        "shapedirs": chosen,
        "J_regressor": csc_matrix(data["J_regressor"]),
        "bs_style": "lbs",
    }
    return pickle.dumps(released, protocol=2).replace(b"scipy.sparse._csc", b"scipy.sparse.csc")


def test_a_released_pickle_gives_plain_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = arrays("mano")
    (tmp_path / "mano").mkdir()
    (tmp_path / "mano" / "MANO_RIGHT.pkl").write_bytes(released_pickle(data, monkeypatch))
    found = read_model_file("mano", str(tmp_path))
    assert found.keys() == data.keys()
    for key, array in data.items():
        np.testing.assert_array_equal(found[key], array)


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('a pickle ran code')",)


def test_files_that_name_code_are_refused(tmp_path: Path) -> None:
    (tmp_path / "SMPL_NEUTRAL.pkl").write_bytes(pickle.dumps({**arrays("mano"), "x": Harm()}))
    with pytest.raises(ValueError, match=r"exec, and only numpy arrays"):
        make_body("smpl", str(tmp_path))
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", v_template=np.array(Harm(), object))
    with pytest.raises(ValueError, match="cannot be read as a body model"):
        make_body("smplx", str(tmp_path))


@pytest.mark.parametrize("name", MESH)
def test_absent_files_say_where_they_are_obtained(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no folder is given.*register at https://.*mpg.de"):
        make_body(name)
    with pytest.raises(ValueError, match=r"none of .* is in .*task.folder"):
        make_body(name, str(tmp_path))


def test_another_model_under_a_name_is_refused(tmp_path: Path) -> None:
    save("mano", tmp_path)
    (tmp_path / "MANO_RIGHT.npz").rename(tmp_path / "SMPL_NEUTRAL.npz")
    with pytest.raises(ValueError, match="SMPL has 24 joints and the file's model 16"):
        make_body("smpl", str(tmp_path))


def test_an_absent_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "smplx", None)
    with pytest.raises(ValueError, match="pip install smplx"):
        make_body("mano", save("mano", tmp_path))
