"""A fine-tuned model: an encoder and a task's head.

Shapes: B samples, V images of a sample, H = W = image_px.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from catalog.config import override
from training.checkpoint import find_checkpoint, load_weights, read_progress
from training.finetuning.config import FinetuneConfig, config_from_dict
from training.models.encoders import make_encoder
from training.tasks.registry import make_task
from training.tasks.task import Outputs, Task


class FinetunedModel(nn.Module):
    """Images in, a task's outputs out; images are normalized as ImageNet is."""

    def __init__(self, config: FinetuneConfig, task: Task) -> None:
        super().__init__()
        encoder: Any = make_encoder(config.encoder, task.num_images)
        self.encoder = encoder
        self.head = task.make_head(encoder.size)
        self._frozen = config.encoder.frozen
        if self._frozen:
            self.encoder.requires_grad_(False)

    def forward(self, images_BV3HW: Tensor) -> Outputs:
        """What the head says of each sample."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
            features = self.encoder(images_BV3HW)
        outputs: Outputs = self.head(features)
        return outputs


def freeze_unreached(model: FinetunedModel, images_BV3HW: Tensor) -> None:
    """Take out of training the weights that no output depends on, such as an encoder's last norm
    before a head that reads its stages: ranks wait for the gradient of every trained one.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    total = torch.stack([output.sum() for output in model(images_BV3HW).values()]).sum()
    gradients = torch.autograd.grad(total, trained, allow_unused=True)
    for parameter, gradient in zip(trained, gradients, strict=True):
        if gradient is None:
            parameter.requires_grad_(False)


def load_finetuned(
    checkpoint: str,
    device: torch.device,
    average: bool = False,
    settings: Sequence[str] = (),
) -> tuple[FinetunedModel, Task, FinetuneConfig]:
    """Load a fine-tuned model, ready to use: a run's newest checkpoint, or one checkpoint;
    `settings` override its config.

    Raises ValueError when there is none, or it is damaged or of another kind.
    """
    folder = find_checkpoint(checkpoint)
    try:
        config = override(config_from_dict(read_progress(folder).config), settings)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None
    task = make_task(config.task_name, config.task)
    model = FinetunedModel(config, task)
    load_weights(folder, model, average=average)
    return model.to(device).eval(), task, config
