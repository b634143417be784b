"""Tell the gesture of a hand (or of a whole picture): one class of a list.

Shapes: B samples, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shards.labels import Label
from training.heads.dense import Size
from training.heads.pooled import Pool, PooledHead
from training.loading.placed import Placed
from training.metrics.classes import confusion_matrix, correct_classes, mean_class_accuracy
from training.metrics.table import summarize
from training.tasks.class_pictures import draw_classes
from training.tasks.gesture_classes import gather_classes
from training.tasks.task import EncoderSize, Features, Outputs, Targets

HANDS = ("left_hand", "right_hand")
SHOWN = 3  # likeliest classes in a picture


@dataclass(frozen=True, kw_only=True)
class GestureConfig:
    """The classes, and what tells them."""

    classes: tuple[str, ...] = ()  # in their order; see `gesture_classes.gather_classes`
    parts: tuple[str, ...] = HANDS  # add `body` where whole pictures are labelled
    pool: Pool = "attention"  # or `mean`, which know no places; `grid`: every token at its place
    pool_heads: int = 4  # of the attention
    label_smoothing: float = 0.1  # share of a label that is spread over all classes

    def __post_init__(self) -> None:
        if len(self.classes) != len(set(self.classes)):
            raise ValueError("task.classes names a class twice: give each once")


def config_for(size: Size) -> GestureConfig:
    """A head that suits encoders of a size, tiny ones are trained for minutes; the classes are the
    data's.
    """
    return GestureConfig(pool="grid" if size == "tiny" else "attention")


def complete_config(config: GestureConfig, shards: Sequence[str]) -> GestureConfig:
    """Take the classes from the training samples, where none are given; raises ValueError for sets
    that name no gesture.
    """
    return config if config.classes else replace(config, classes=gather_classes(shards))


class Gesture:
    """The task `gesture`."""

    name = "gesture"
    num_images = 1
    headline = "accuracy"
    larger_is_better = True
    factors: Mapping[str, float] = {"class": 1.0}
    reads_maps = False
    mirror_left = True  # only hands are: bodies have no side

    def __init__(self, config: GestureConfig) -> None:
        if len(config.classes) < 2:
            raise ValueError(
                f"task.classes has {len(config.classes)} classes: give the 2 or more that the "
                "labels name"
            )
        self.config = config
        self.parts = config.parts
        self._number = {name: number for number, name in enumerate(config.classes)}

    def target(self, label: Label, images: Sequence[Placed]) -> dict[str, npt.NDArray[np.generic]]:
        """`class`: its place in the list, int64."""
        if label.gesture is None:
            raise ValueError(f"sample {label.label_id} has no gesture")
        if label.gesture not in self._number:
            raise ValueError(
                f"sample {label.label_id} has the gesture {label.gesture!r}, which is not one of "
                f"task.classes: {', '.join(self.config.classes)}"
            )
        return {"class": np.array(self._number[label.gesture], np.int64)}

    def make_head(self, encoder: EncoderSize) -> nn.Module:
        """The head, which returns `logits` (B, K)."""
        return _GestureHead(self.config, encoder)

    def weights(self, targets: Targets) -> dict[str, Tensor]:
        """`class`: 1 for every sample."""
        return {"class": torch.ones(len(targets["class"]), device=targets["class"].device)}

    def losses(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """`class`: cross-entropy."""
        value_B = F.cross_entropy(
            outputs["logits"].float(),
            targets["class"],
            reduction="none",
            label_smoothing=self.config.label_smoothing,
        )
        return {"class": value_B}

    def metrics(self, outputs: Outputs, targets: Targets) -> dict[str, Tensor]:
        """Whether the class is right (also among the likeliest 5), and the numbers of both."""
        logits_BK, true_B = outputs["logits"].float(), targets["class"]
        pred_B = logits_BK.argmax(dim=1)
        five = logits_BK.topk(min(5, logits_BK.shape[1]), dim=1).indices
        return {
            "accuracy": correct_classes(pred_B, true_B),
            "accuracy_top5": (five == true_B[:, None]).any(dim=1).double(),
            "cross_entropy_nats": F.cross_entropy(logits_BK, true_B, reduction="none").double(),
            "class": true_B.double(),
            "predicted_class": pred_B.double(),
        }

    def summarize(self, rows: Mapping[str, Tensor]) -> dict[str, float]:
        """Means, and the mean over classes of their accuracies."""
        means = summarize({name: rows[name] for name in rows if not name.endswith("class")})
        return {**means, "mean_class_accuracy": mean_class_accuracy(self.confusion(rows))}

    def confusion(self, rows: Mapping[str, Tensor]) -> Tensor:
        """Count (K, K): row i, column j has the samples of class i that are taken for class j."""
        num_classes = len(self.config.classes)
        return confusion_matrix(rows["predicted_class"], rows["class"], num_classes)

    def draw(
        self, image_HW3: npt.NDArray[np.uint8], outputs: Outputs, targets: Targets, row: int
    ) -> npt.NDArray[np.uint8]:
        """The likeliest classes with their probabilities, and the true one."""
        likely = self.answer(outputs, row)["probabilities"]
        true = self.config.classes[int(targets["class"][row])]
        return draw_classes(image_HW3, dict(list(likely.items())[:SHOWN]), true)

    def answer(self, outputs: Outputs, row: int) -> dict[str, Any]:
        """`gesture`, and the `probabilities` of all classes by name, the likeliest first."""
        shares_K = outputs["logits"][row].float().softmax(dim=0)
        order = shares_K.argsort(descending=True).tolist()
        likely = {self.config.classes[number]: float(shares_K[number]) for number in order}
        return {"gesture": next(iter(likely)), "probabilities": likely}


class _GestureHead(nn.Module):
    def __init__(self, config: GestureConfig, encoder: EncoderSize) -> None:
        super().__init__()
        self.logits = PooledHead(encoder, len(config.classes), config.pool, config.pool_heads)

    def forward(self, features: Features) -> Outputs:
        return {"logits": self.logits(features)}
