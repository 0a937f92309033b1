"""Distillation of a larger model's answers into a small one (few_shot_localization.txt section 4.6.3, eq. 13)."""

from __future__ import annotations

import torch.nn.functional as functional
from torch import Tensor


def logit_distillation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, alpha: float, temperature: float
) -> Tensor:
    """Mean of alpha CE(y, softmax(z_s)) + (1 - alpha) KL(softmax(z_t / T) || softmax(z_s / T)), eq. 13 as it stands.

    The factor T^2 that Hinton, Vinyals and Dean (2015) put before the second part, so that its gradient keeps its size
    as T grows, is not in the equation and not here: the gradient of the second part shrinks about as 1 / T^2. Whoever
    wants the balance `a` of their form gives alpha = a / (a + (1 - a) T^2) and scales the loss by a + (1 - a) T^2.

    Args:
        student: logits z_s (..., classes); leading dimensions are images, patches, or whatever counts alike.
        teacher: logits z_t of the same shape; no gradient goes there.
        labels: (...) class numbers y, int64.
        alpha: weight of the labels beside the teacher, [0, 1].
        temperature: T, above 0; it softens the second part alone.

    Returns:
        () of the student's type, the mean over all leading dimensions; 0 without a single row.
    """
    rows = student.reshape(-1, student.shape[-1])
    soft = (teacher.detach().reshape(rows.shape) / temperature).log_softmax(-1)
    from_labels = functional.cross_entropy(rows, labels.reshape(-1), reduction="sum")
    from_teacher = functional.kl_div(
        (rows / temperature).log_softmax(-1), soft.to(rows.dtype), reduction="sum", log_target=True
    )
    return (alpha * from_labels + (1 - alpha) * from_teacher) / max(len(rows), 1)
