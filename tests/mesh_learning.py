"""What tests of mesh tasks measure: the loss of a batch, and how far a head learns one."""

import torch
from torch import Tensor

from tests.mesh_labels import SIZE, random_features
from training.tasks.mesh_task import MeshTask
from training.tasks.task import Outputs, Targets


def total_loss(task: MeshTask, outputs: Outputs, targets: Targets) -> Tensor:
    """The sum of a task's terms, each a mean over the samples that have its label."""
    losses, weights = task.losses(outputs, targets), task.weights(targets)
    terms = [
        task.factors[name] * (losses[name] * weights[name]).sum() / weights[name].sum().clamp(min=1)
        for name in task.factors
    ]
    return torch.stack(terms).sum()


def learned_share(task: MeshTask, targets: Targets, steps: int = 80) -> float:
    """The error of vertices after learning one batch, over that of a new head (the mean pose)."""
    torch.manual_seed(0)
    features = random_features(len(targets["has_body"]))
    head = task.make_head(SIZE)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
    before = task.metrics(head.eval()(features), targets)["pve_mm"].mean()
    head.train()
    for _ in range(steps):
        optimizer.zero_grad()
        total_loss(task, head(features), targets).backward()
        optimizer.step()
    after = task.metrics(head.eval()(features), targets)["pve_mm"].mean()
    return float(after / before)
