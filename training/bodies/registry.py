"""Body models by name."""

from training.bodies.model import BodyModel

BODIES = ("anny", "anny_hand", "smpl", "smplx", "mano")


def make_body(name: str, folder: str = "", num_vertices: int | None = None) -> BodyModel:
    """Make a body model on the CPU, with all its vertices or `num_vertices` spread evenly.

    `folder` holds the licensed files of SMPL, SMPL-X and MANO. Raises ValueError for an unknown
    name, more vertices than there are, and a package or file that is absent.
    """
    if name not in BODIES:
        raise ValueError(f"unknown body model {name!r}; there are: {', '.join(BODIES)}")
    model = _make(name, folder)
    if num_vertices is not None:
        model.cut(num_vertices)
    return model


def _make(name: str, folder: str) -> BodyModel:
    if name in ("anny", "anny_hand"):
        from training.bodies.anny_body import make_anny, make_anny_hand

        return make_anny() if name == "anny" else make_anny_hand()
    from training.bodies.smplx_bodies import SmplxBody

    return SmplxBody(name, folder)
