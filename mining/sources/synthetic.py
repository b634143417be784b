"""Synthetic captures as a dataset: the options are the fields of SyntheticConfig, and
`annotations`.
"""

from catalog.config import override_from_table, valid_keys
from catalog.ids import content_id
from mining.sources.base import Capture, DatasetSpec, Listing, View
from mining.synthetic.config import SyntheticConfig
from mining.synthetic.plan import Plan
from mining.synthetic.reader import capture_uri, view_uri

NUM_CAPTURES = 1500  # one person each: enough that a tiny model cannot learn them by heart
RENDER_VERSION = 1  # raise it when the same config gives other pixels


class SyntheticSource:
    """Lists captures of a SyntheticConfig, 4 ms each: nothing is posed or rendered for that.

    Options are the config's fields and `num_captures`: more captures leave the first ones as they
    are. `annotations = "given"` (the default) hands on exact boxes, keypoints and masks, `"none"`
    leaves the people to be detected. The spec's root is not used.
    """

    def captures(self, spec: DatasetSpec) -> Listing:
        """List the captures, `synthetic-00000` and so on. Raises ValueError for an unknown option
        or a bad value.
        """
        options = dict(spec.options)
        annotations = options.pop("annotations", "given")
        if annotations not in ("given", "none"):
            raise ValueError(f"annotations must be given or none, got {annotations!r}")
        num_captures = options.pop("num_captures", NUM_CAPTURES)
        if not isinstance(num_captures, int) or num_captures < 1:
            raise ValueError(f"num_captures must be a whole number from 1, got {num_captures!r}")
        unknown = set(options) - set(valid_keys(SyntheticConfig()))
        if unknown:
            known = ["num_captures", "annotations", *valid_keys(SyntheticConfig())]
            raise ValueError(
                f"unknown option {', '.join(sorted(unknown))}; there are: {', '.join(known)}"
            )
        config = override_from_table(SyntheticConfig(), options)
        config.check()
        return Listing(
            captures=tuple(
                _capture(config, index, annotations == "given") for index in range(num_captures)
            )
        )


def _capture(config: SyntheticConfig, index: int, annotated: bool) -> Capture:
    plan = Plan(config, index)
    uris = [view_uri(config, index, view, annotated) for view in range(config.num_views)]
    return Capture(
        name=f"synthetic-{index:05d}",
        uri=capture_uri(config, index),
        views=tuple(
            View(
                name=f"cam{view}",
                uri=uri,
                reader="synthetic",
                fingerprint=content_id(uri, RENDER_VERSION),
                camera=plan.cameras[view],
            )
            for view, uri in enumerate(uris)
        ),
        annotated=annotated,
        subject="+".join(plan.people),
        licence="CC0-1.0",
    )
