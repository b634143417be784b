"""Classes: which are right, how often, which is taken for which; and what frozen features know of
them (k nearest neighbours).

A label below 0 means that there is none.

Shapes: B samples, C classes, N samples in the memory of neighbours, D features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

KNN_NEIGHBOURS = 20
KNN_TEMPERATURE = 0.07
CHUNK = 1024  # samples whose similarities to the whole memory are held at once


def correct_classes(pred_B: Tensor, label_B: Tensor) -> Tensor:
    """Tell which predicted classes are the labels: (B,), 1 or 0; NaN without a label."""
    return torch.where(label_B >= 0, (pred_B == label_B).double(), torch.nan)


def confusion_matrix(pred_B: Tensor, label_B: Tensor, num_classes: int) -> Tensor:
    """Count (C, C): row i, column j has the samples of class i that are taken for class j.

    Samples without a label do not count. Counts of parts of a dataset may be added up.
    """
    labelled_B = label_B >= 0
    pred_B, label_B = pred_B[labelled_B].long(), label_B[labelled_B].long()
    for name, classes_B in (("predicted class", pred_B), ("label", label_B)):
        if ((classes_B < 0) | (classes_B >= num_classes)).any():
            raise ValueError(
                f"a {name} is {classes_B.min().item()} or {classes_B.max().item()}, but there are "
                f"{num_classes} classes: give classes from 0 to {num_classes - 1}"
            )
    counts = torch.bincount(label_B * num_classes + pred_B, minlength=num_classes**2)
    return counts.view(num_classes, num_classes)


def class_accuracy(confusion_CC: Tensor) -> Tensor:
    """Return each class's share of right samples, its recall: (C,); NaN for absent classes."""
    return confusion_CC.diagonal().double() / confusion_CC.sum(dim=1)


def mean_class_accuracy(confusion_CC: Tensor) -> float:
    """Return the mean over classes of their accuracies, 0 to 1: each counts alike, however rare.

    Classes that no sample has do not count; NaN without samples. Also called balanced accuracy.
    """
    return class_accuracy(confusion_CC).nanmean().item()


def knn_classes(
    memory_ND: Tensor, memory_label_N: Tensor, features_BD: Tensor, num_classes: int
) -> Tensor:
    """Return the classes (B,) that the nearest samples of a labelled memory vote for.

    The protocol of DINO (Caron et al., "Emerging properties in self-supervised vision
    transformers", ICCV 2021, after Wu et al., CVPR 2018): features of length 1, the 20 most similar
    by cosine, each voting for its class with weight exp(cosine / 0.07). A memory of fewer votes
    whole. The memory's features are of the training split, made by the frozen encoder without
    augmentation.
    """
    if not len(memory_ND) or (memory_label_N < 0).any():
        raise ValueError(
            f"the memory of neighbours has {len(memory_ND)} samples, of which "
            f"{(memory_label_N < 0).sum().item()} have no label: give labelled samples, at least 1"
        )
    memory_ND = F.normalize(memory_ND.float(), dim=1)
    classes = []
    for chunk_MD in features_BD.float().split(CHUNK):
        cosine_MN = F.normalize(chunk_MD, dim=1) @ memory_ND.T
        cosine_MK, index_MK = cosine_MN.topk(min(KNN_NEIGHBOURS, len(memory_ND)), dim=1)
        votes_MC = torch.zeros(len(chunk_MD), num_classes, device=cosine_MK.device)
        weight_MK = (cosine_MK / KNN_TEMPERATURE).exp()
        votes_MC.scatter_add_(1, memory_label_N.long()[index_MK], weight_MK)
        classes.append(votes_MC.argmax(dim=1))
    return torch.cat(classes)
