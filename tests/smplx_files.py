"""Files of SMPL, SMPL-X and MANO in the form they are released in, with random numbers."""

from pathlib import Path

import numpy as np

from catalog.model_files import GENDERS

Array = np.ndarray
MESH = {"smpl": (6890, 24), "smplx": (10475, 55), "mano": (778, 16)}
PARENTS = {
    "smpl": [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21],
    "mano": [0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14],
}
PARENTS["smplx"] = [
    *PARENTS["smpl"][:22], 15, 15, 15,
    *(20 if link == 0 else 24 + 3 * finger + link for finger in range(5) for link in range(3)),
    *(21 if link == 0 else 39 + 3 * finger + link for finger in range(5) for link in range(3)),
]  # fmt: skip


def arrays(name: str, gender: str = "neutral") -> dict[str, Array]:
    """What a model's file holds; all genders have the same triangles and bones."""
    rng = np.random.default_rng(GENDERS.index(gender))
    num_vertices, num_joints = MESH[name]
    parents = np.array(PARENTS[name], np.uint32)
    parents[0] = 2**32 - 1
    weights = rng.random((num_vertices, num_joints)) ** 8
    regressor = rng.random((num_joints, num_vertices)) ** 40
    data = {
        "v_template": rng.normal(size=(num_vertices, 3)) * 0.3,
        "shapedirs": rng.normal(size=(num_vertices, 3, 12)) * 0.01,
        "posedirs": rng.normal(size=(num_vertices, 3, 9 * (num_joints - 1))) * 0.001,
        "J_regressor": regressor / regressor.sum(axis=1, keepdims=True),
        "kintree_table": np.stack([parents, np.arange(num_joints, dtype=np.uint32)]),
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "f": np.random.default_rng(0).integers(num_vertices, size=(100, 3), dtype=np.uint32),
    }
    if name == "mano":
        data["hands_mean"] = rng.normal(size=45) * 0.2
    return data


def save(name: str, folder: Path, gender: str = "neutral") -> str:
    """Write a model's file; returns the folder, as `make_body` takes it."""
    file = "MANO_RIGHT" if name == "mano" else f"{name.upper()}_{gender.upper()}"
    np.savez(
        folder / f"{file}.npz",
        **arrays(name, gender),
        joint2num=np.array({"Pelvis": 0}, object),  # SMPL-X's file has it; it is not read
    )
    return str(folder)
