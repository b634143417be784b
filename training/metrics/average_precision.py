"""Average precision the COCO way, over any similarity of predicted to annotated instances: IoU,
object keypoint similarity, geodesic point similarity.

Written from the COCO evaluation's description (cocodataset.org, "Detection Evaluation") and tested
against pycocotools.

Shapes: D predicted instances of an image, G annotated ones, T thresholds, R recall levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALL_LEVELS = np.linspace(0, 1, 101)
MAX_PREDICTIONS = 20  # of an image: COCO's number for people
Matches = NDArray[np.int64]
HIT, MISS, PASSED_OVER = 1, 0, -1


@dataclass(frozen=True, kw_only=True)
class ImageMatches:
    """What became of one image's predictions, in falling order of score."""

    scores_D: NDArray[np.float64]
    outcome_TD: Matches  # HIT, MISS or PASSED_OVER (matched to what is not judged)
    num_judged: int  # annotated instances to be found


def average_precision(
    scores: Sequence[Tensor],
    similarities: Sequence[Tensor],
    ignored: Sequence[Tensor] | None = None,
    max_predictions: int = MAX_PREDICTIONS,
) -> dict[str, float]:
    """Return AP and AR over similarity thresholds 0.5:0.05:0.95, and AP at each: `ap`, `ar`,
    `ap_0.50`, `ap_0.75`, ..., all 0 to 1; NaN when no image has an instance to be found.

    One item for each image: scores (D,), higher is surer; similarities (D, G), 0 to 1, of which NaN
    (nothing to be judged by) matches nothing; ignored (G,) bool, annotated instances that need not
    be found (without dense annotations, say): predictions matched to them do not count. Images
    without predictions or annotations have tensors with a side of 0. In each image the surest
    `max_predictions` are looked at. Precision is made to fall with recall and averaged over 101
    levels of it; AR is the mean of the highest recalls.
    """
    images = [
        match_image(
            scores[i], similarities[i], None if ignored is None else ignored[i], max_predictions
        )
        for i in range(len(scores))
    ]
    num_judged = sum(image.num_judged for image in images)
    precisions, recalls = [], []
    for t in range(len(THRESHOLDS)):
        precision, recall = _precision_and_recall(images, t, num_judged)
        precisions.append(precision)
        recalls.append(recall)
    result = {"ap": float(np.mean(precisions)), "ar": float(np.mean(recalls))}
    return result | {f"ap_{t:.2f}": p for t, p in zip(THRESHOLDS, precisions, strict=True)}


def match_image(
    scores_D: Tensor, similarity_DG: Tensor, ignored_G: Tensor | None, max_predictions: int
) -> ImageMatches:
    """Match the predictions of one image to its annotations, at each threshold.

    In falling order of score each takes the most similar annotation that is left and at least as
    similar as the threshold; one that is ignored only if no other is.
    """
    if similarity_DG.ndim != 2 or len(similarity_DG) != len(scores_D):
        raise ValueError(
            f"an image has {len(scores_D)} scores, but similarities of shape "
            f"{tuple(similarity_DG.shape)}: give a row for each score"
        )
    scores = scores_D.detach().cpu().double().numpy()
    order_D = np.argsort(-scores, kind="stable")[:max_predictions]
    similarity = similarity_DG.detach().cpu().double().numpy()[order_D]
    ignored = np.zeros(similarity.shape[1], bool)
    if ignored_G is not None:
        ignored = ignored_G.detach().cpu().bool().numpy()
    outcome_TD = np.full((len(THRESHOLDS), len(order_D)), MISS, np.int64)
    for t, threshold in enumerate(THRESHOLDS):
        left = np.ones(len(ignored), bool)
        for d, row in enumerate(similarity):
            fits = left & (row >= min(threshold, 1 - 1e-10))
            choice = fits & ~ignored if (fits & ~ignored).any() else fits
            if choice.any():
                # The last of those equally similar, as COCO has it.
                best = np.flatnonzero(choice & (row == row[choice].max()))[-1]
                left[best] = False
                outcome_TD[t, d] = PASSED_OVER if ignored[best] else HIT
    return ImageMatches(
        scores_D=scores[order_D], outcome_TD=outcome_TD, num_judged=int((~ignored).sum())
    )


def _precision_and_recall(
    images: Sequence[ImageMatches], threshold_index: int, num_judged: int
) -> tuple[float, float]:
    """Average precision and highest recall of all images together, at one threshold."""
    if num_judged == 0:
        return float("nan"), float("nan")
    scores = np.concatenate([image.scores_D for image in images])
    outcome = np.concatenate([image.outcome_TD[threshold_index] for image in images])
    order = np.argsort(-scores, kind="stable")
    counted = outcome[order][outcome[order] != PASSED_OVER]
    if not len(counted):
        return 0.0, 0.0
    hits = np.cumsum(counted == HIT)
    recall = hits / num_judged
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    index = np.searchsorted(recall, RECALL_LEVELS, side="left")
    at_levels_R = np.where(index < len(precision), precision[np.minimum(index, len(hits) - 1)], 0.0)
    return float(at_levels_R.mean()), float(recall[-1])
