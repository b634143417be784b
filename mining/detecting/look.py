"""What is in one frame: bodies and hands, given by the source's annotations or found by models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mining.detecting.config import DetectConfig
from mining.detecting.hands import HandFinder, HandReject, make_hand_finder
from mining.detecting.masks import Segmenter, make_segmenter
from mining.detecting.people import Detector, make_detector
from mining.sources.base import Detection, Frame, PartGroup

Problem = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found in a frame: bodies, then hands, whose `body` is a place in `bodies`.

    `body_problems` says of each body why it is not good enough, None where it is; hands were not
    sought at those that are not. `hand_rejects` are wrists at which no hand was confirmed.
    """

    bodies: tuple[Detection, ...]
    body_problems: tuple[Problem | None, ...]
    hands: tuple[Detection, ...]
    hand_rejects: tuple[HandReject, ...]
    given: frozenset[PartGroup]


def needs_models(annotated: Sequence[PartGroup], config: DetectConfig) -> bool:
    """Whether any model must look at frames that come with the `annotated` parts."""
    return not set(config.parts) <= set(annotated) or config.masks != "none"


class Looker:
    """Looks at frames, one after the other; keeps its models, each loaded when first needed."""

    def __init__(self, config: DetectConfig) -> None:
        self.parts = config.parts
        self.detector: Detector = make_detector(config)
        self.hand_finder: HandFinder = make_hand_finder(config)
        self.segmenter: Segmenter | None = make_segmenter(config)

    def look(
        self,
        frame: Frame,
        annotated: Sequence[PartGroup],
        judge: Callable[[Detection], Problem | None],
    ) -> Found:
        """Find what `detect.parts` names; what is `annotated` comes with the frame.

        `judge` says why a body is not good enough to look at more closely, None for a good one.
        """
        given = frozenset(annotated) if frame.people is not None else frozenset[PartGroup]()
        bodies, places = self._bodies(frame, given)
        problems = [judge(body) for body in bodies]
        hands: Sequence[Detection] = ()
        rejects: Sequence[HandReject] = ()
        if "hands" in self.parts and "hands" in given:
            hands = [
                replace(person, body=None if person.body is None else places.get(person.body))
                for person in frame.people or ()
                if person.part != "body"
            ]
        elif "hands" in self.parts and "body" not in self.parts:
            hands = self.hand_finder.everywhere(frame.image)
        elif "hands" in self.parts:
            good = [place for place, problem in enumerate(problems) if problem is None]
            found, dropped = self.hand_finder.at_wrists(frame.image, [bodies[k] for k in good])
            hands = [replace(hand, body=good[hand.body or 0]) for hand in found]
            rejects = [replace(reject, body=good[reject.body]) for reject in dropped]
        return Found(
            bodies=tuple(bodies),
            body_problems=tuple(problems),
            hands=tuple(hands),
            hand_rejects=tuple(rejects),
            given=given,
        )

    def _bodies(
        self, frame: Frame, given: frozenset[PartGroup]
    ) -> tuple[list[Detection], dict[int, int]]:
        """The frame's bodies, with masks where there is a segmenter; and where those that were
        given stand in the list, by their place in the frame's tuple.
        """
        if "body" not in self.parts:
            return [], {}
        if "body" in given:
            numbered = [(k, p) for k, p in enumerate(frame.people or ()) if p.part == "body"]
            bodies = [person for _, person in numbered]
            places = {k: place for place, (k, _) in enumerate(numbered)}
        else:
            bodies, places = self.detector.detect(frame.image), {}
        if self.segmenter is not None and any(body.mask is None for body in bodies):
            masks = self.segmenter.masks(frame.image, bodies)
            bodies = [
                replace(body, mask=mask, mask_by_model=True)
                if body.mask is None and mask is not None
                else body
                for body, mask in zip(bodies, masks, strict=True)
            ]
        return bodies, places
