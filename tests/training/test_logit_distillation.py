"""Eq. 13 by hand numbers and by a loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from anomalabel.training.logit_distillation import logit_distillation_loss


def logits(*shape: int, seed: int) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def one_row(student: list[float], teacher: list[float], label: int, alpha: float, temperature: float) -> float:
    """The equation, letter by letter."""
    target = softmax([value / temperature for value in teacher])
    answer = softmax([value / temperature for value in student])
    divergence = sum(p * math.log(p / q) for p, q in zip(target, answer, strict=True))
    return alpha * -math.log(softmax(student)[label]) + (1 - alpha) * divergence


def test_by_hand() -> None:
    student, teacher = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[2 * math.log(9), 0.0]])
    # At T = 2 the teacher says 9 : 1 and the student sqrt(3) : 1; without temperature the student says 3 : 1.
    root = math.sqrt(3)
    divergence = 0.9 * math.log(0.9 * (root + 1) / root) + 0.1 * math.log(0.1 * (root + 1))
    loss = logit_distillation_loss(student, teacher, torch.tensor([1]), alpha=0.25, temperature=2.0)
    assert loss.item() == pytest.approx(0.25 * math.log(4) + 0.75 * divergence, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_patches_of_images_count_alike(alpha: float, temperature: float) -> None:
    student, teacher = logits(2, 3, 4, seed=0), logits(2, 3, 4, seed=1)
    labels = torch.tensor([[0, 1, 2], [3, 3, 0]])
    rows = [
        one_row(student[n, p].tolist(), teacher[n, p].tolist(), int(labels[n, p]), alpha, temperature)
        for n in range(2)
        for p in range(3)
    ]
    loss = logit_distillation_loss(student, teacher, labels, alpha, temperature)
    assert loss.item() == pytest.approx(sum(rows) / 6, rel=1e-5)


def test_the_labels_part_ignores_temperature_and_teacher() -> None:
    student, labels = logits(5, 3, seed=2), torch.tensor([0, 1, 2, 1, 0])
    losses = {
        logit_distillation_loss(student, logits(5, 3, seed=seed), labels, 1.0, temperature).item()
        for seed, temperature in ((3, 1.0), (4, 8.0))
    }
    assert losses == {torch.nn.functional.cross_entropy(student, labels).item()}


def test_a_student_that_agrees_with_its_teacher_has_no_second_part() -> None:
    student = logits(4, 2, seed=5)
    shifted = student + torch.arange(4.0)[:, None]
    loss = logit_distillation_loss(student, shifted, torch.zeros(4, dtype=torch.int64), 0.0, 3.0)
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_the_gradient_pulls_towards_the_teacher_and_leaves_it_alone() -> None:
    student = torch.zeros(1, 2, requires_grad=True)
    teacher = torch.tensor([[math.log(3), 0.0]], requires_grad=True)
    logit_distillation_loss(student, teacher, torch.tensor([0]), 0.0, 1.0).backward()
    # d KL / d z_s = softmax(z_s) - softmax(z_t) = (1/2, 1/2) - (3/4, 1/4)
    torch.testing.assert_close(student.grad, torch.tensor([[-0.25, 0.25]]))
    assert teacher.grad is None


def test_hintons_form_by_the_documented_conversion() -> None:
    student, teacher, labels = logits(6, 3, seed=6), logits(6, 3, seed=7), torch.tensor([0, 1, 2, 2, 1, 0])
    balance, temperature = 0.4, 2.5
    weight = balance + (1 - balance) * temperature**2
    hard, soft = (logit_distillation_loss(student, teacher, labels, alpha, temperature) for alpha in (1.0, 0.0))
    theirs = balance * hard + (1 - balance) * temperature**2 * soft
    ours = logit_distillation_loss(student, teacher, labels, balance / weight, temperature)
    torch.testing.assert_close(weight * ours, theirs)


def test_no_row_costs_nothing() -> None:
    empty = torch.zeros(0, 2, requires_grad=True)
    loss = logit_distillation_loss(empty, torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), 0.5, 2.0)
    assert loss.item() == 0
    loss.backward()
