"""Reads the files of SMPL, SMPL-X and MANO that a user has a licence for, without running any code
that they name.

An .npz gives plain arrays. A .pkl, as SMPL and MANO are released, also holds a sparse matrix of
scipy and arrays of chumpy (a package that no longer installs): both become plain arrays here, by
stand-ins that hold what was pickled and do nothing.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.safe_pickle import load_pickle

Array = NDArray[Any]
KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights", "f")
MANO_KEYS = ("hands_mean",)
GENDERS = ("neutral", "male", "female")
# File names without their ending, by gender: the first that is there; also in a folder of the
# model's name.
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "smpl": {
        "neutral": (
            "SMPL_NEUTRAL",
            "basicmodel_neutral_lbs_10_207_0_v1.1.0",
            "basicModel_neutral_lbs_10_207_0_v1.0.0",
        ),
        "male": (
            "SMPL_MALE",
            "basicmodel_m_lbs_10_207_0_v1.1.0",
            "basicmodel_m_lbs_10_207_0_v1.0.0",
        ),
        "female": (
            "SMPL_FEMALE",
            "basicmodel_f_lbs_10_207_0_v1.1.0",
            "basicModel_f_lbs_10_207_0_v1.0.0",
        ),
    },
    "smplx": {
        "neutral": ("SMPLX_NEUTRAL", "SMPLX_NEUTRAL_2020"),
        "male": ("SMPLX_MALE", "SMPLX_MALE_2020"),
        "female": ("SMPLX_FEMALE", "SMPLX_FEMALE_2020"),
    },
    "mano": {"neutral": ("MANO_RIGHT",)},
}
SITES = {
    "smpl": "https://smpl.is.tue.mpg.de",
    "smplx": "https://smpl-x.is.tue.mpg.de",
    "mano": "https://mano.is.tue.mpg.de",
}


def read_model_file(name: str, folder: str, gender: str = "neutral") -> dict[str, Array]:
    """The arrays of a model, as they are named in its file.

    Raises ValueError, in one sentence, when the folder is not given, the file is not there, lacks
    an array, or holds what is neither an array nor plain data.
    """
    path = find_model_file(name, folder, gender)
    keys = KEYS + (MANO_KEYS if name == "mano" else ())
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                data = {key: file[key] for key in keys if key in file.files}
        else:
            data = load_pickle(path.read_bytes(), _stand_in)
            data = {key: _plain(data[key]) for key in keys if key in data}
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a body model: {error}") from None
    missing = [key for key in keys if key not in data]
    if missing:
        raise ValueError(
            f"{path} is no file of {name.upper()}, as it lacks {', '.join(missing)}; download it "
            f"again from {SITES[name]}"
        )
    return data


def find_model_file(name: str, folder: str, gender: str) -> Path:
    """Where a model's file is.

    Raises ValueError, in one sentence, when the model has no such gender, the folder is not given,
    or the file is not there.
    """
    stems = NAMES[name]
    if gender not in stems:
        raise ValueError(
            f"{name.upper()} has no model of the gender {gender!r}; there are: {', '.join(stems)}"
        )
    names = [f"{stem}{ending}" for stem in stems[gender] for ending in (".npz", ".pkl")]
    for place in (Path(folder), Path(folder) / name) if folder else ():
        for file in names:
            if (place / file).is_file():
                return place / file
    looked = f"none of {', '.join(names)} is in {folder}" if folder else "no folder is given"
    wanted = name.upper() if len(stems) == 1 else f"{name.upper()}'s {gender} model"
    raise ValueError(
        f"the files of {wanted} are needed and {looked}: they are licensed, so register at "
        f"{SITES[name]}, download them and set task.folder (mining: the option bodies) to where "
        "they are"
    )


class _Held:
    """What was pickled of an object, as its attributes."""


class _SparseColumns(_Held):
    """scipy's csc_matrix."""


class _Chumpy(_Held):
    """An array of chumpy, or something made of one."""


def _rebuild(cls: type, base: type, state: Any) -> Any:
    """What Python 2 rebuilt objects with, for stand-ins alone."""
    if not (isinstance(cls, type) and issubclass(cls, _Held)):
        raise ValueError("it rebuilds an object that is neither an array nor plain data")
    return cls.__new__(cls)


def _stand_in(module: str, name: str) -> Any:
    if module.split(".")[0] == "chumpy":
        return _Chumpy
    if module.startswith("scipy.sparse") and name == "csc_matrix":
        return _SparseColumns
    if module in ("copy_reg", "copyreg") and name == "_reconstructor":
        return _rebuild
    if (module, name) in (("__builtin__", "object"), ("builtins", "object")):
        return object
    return None


def _plain(value: Any) -> Array:
    if isinstance(value, _SparseColumns):
        parts = vars(value)
        shape = parts["_shape"] if "_shape" in parts else parts["shape"]
        dense = np.zeros(shape, parts["data"].dtype)
        columns = np.repeat(np.arange(shape[1]), np.diff(parts["indptr"]))
        np.add.at(dense, (parts["indices"], columns), parts["data"])
        return dense
    if isinstance(value, _Chumpy):
        parts = vars(value)
        if "x" in parts:
            return np.asarray(parts["x"])
        if "a" in parts and "idxs" in parts:  # a selection of another array's values
            chosen = _plain(parts["a"]).ravel()[np.asarray(parts["idxs"])]
            return chosen.reshape(parts.get("preferred_shape", chosen.shape))
        raise ValueError("it holds an array of chumpy in a form that is not known")
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value
    raise ValueError(f"it holds a {type(value).__name__} where an array is needed")
