"""Body models by name and gender."""

from catalog.model_files import GENDERS, find_model_file
from training.bodies.model import BodyModel

BODIES = ("anny", "anny_hand", "smpl", "smplx", "mano")


def make_body(
    name: str, folder: str = "", num_vertices: int | None = None, gender: str = "neutral"
) -> BodyModel:
    """Make a body model on the CPU, with all its vertices or `num_vertices` spread evenly: those
    of the neutral model, whatever the gender, so that vertices of two genders can be compared.

    `folder` holds the licensed files of SMPL, SMPL-X and MANO. Raises ValueError for an unknown
    name, a gender that the model does not have, more vertices than there are, and a package or
    file that is absent.
    """
    if name not in BODIES:
        raise ValueError(f"unknown body model {name!r}; there are: {', '.join(BODIES)}")
    model = _make(name, folder, gender)
    if num_vertices is not None and gender == "neutral":
        model.cut(num_vertices)
    elif num_vertices is not None:
        model.cut_as(make_body(name, folder, num_vertices))
    return model


def absent_genders(name: str, folder: str) -> dict[str, str]:
    """The genders that cannot be made of a body model, and why, in a sentence each."""
    absent = {}
    for gender in GENDERS:
        try:
            _check(name, folder, gender)
        except ValueError as error:
            absent[gender] = str(error)
    return absent


def _check(name: str, folder: str, gender: str) -> None:
    if name not in ("anny", "anny_hand"):
        find_model_file(name, folder, gender)
    elif gender != "neutral":
        raise ValueError(f"{name} has no model of the gender {gender!r}; there is: neutral")


def _make(name: str, folder: str, gender: str) -> BodyModel:
    if name in ("anny", "anny_hand"):
        _check(name, folder, gender)
        from training.bodies.anny_body import make_anny, make_anny_hand

        return make_anny() if name == "anny" else make_anny_hand()
    from training.bodies.smplx_bodies import SmplxBody

    return SmplxBody(name, folder, gender)
