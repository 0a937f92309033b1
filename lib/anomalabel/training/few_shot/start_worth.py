"""What a start from episodes is worth: how far a few steps lead from it, and from first weights, on the same tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from anomalabel.localization.few_shot.head import FewShotHead
from anomalabel.training.episodes import Episode, EpisodicTraining, parameters_of, query_losses
from anomalabel.training.few_shot.episode_loss import EpisodeBatch, episode_loss

SCRATCH_RATES = (0.2, 1.0, 5.0)
"""Multiples of the start's rate. First weights get the best of them, the start the one it was learned with."""


def worth_of_start(
    head: FewShotHead,
    start: Mapping[str, Tensor],
    tasks: Sequence[Episode[EpisodeBatch]],
    training: EpisodicTraining,
    steps: int,
    progress: Callable[[int, int], None],
) -> dict[str, float]:
    """Mean loss (eq. 8) on the queries of tasks before and after adapting to their supports.

    Args:
        head: with first weights.
        start: what was learned from it.
        tasks: at least one, of shots that the start did not learn from.
        training: its `inner_rate` is the start's.
        steps: of adaptation.
        progress: called with tasks done and in all; may raise Cancelled.

    Returns:
        `held_out_tasks`, `adaptation_steps`; `start_loss_before` and `_after`; the same as `scratch_loss_...` of the
        first weights, adapted in as many steps at the rate of `SCRATCH_RATES` that is best for them, judged on these
        very tasks.
    """
    loss, first, rate = episode_loss(head), parameters_of(head), training.inner_rate
    from_start, from_scratch = [], []
    for number, task in enumerate(tasks):
        progress(number, len(tasks))
        from_start.append(query_losses(start, task, loss, rate, steps))
        from_scratch.append([query_losses(first, task, loss, rate * times, steps) for times in SCRATCH_RATES])
    progress(len(tasks), len(tasks))
    start_course = np.mean(from_start, axis=0)
    scratch_courses = np.mean(from_scratch, axis=0)
    return {
        "held_out_tasks": len(tasks),
        "adaptation_steps": steps,
        "start_loss_before": float(start_course[0]),
        "start_loss_after": float(start_course[-1]),
        "scratch_loss_before": float(scratch_courses[0, 0]),
        "scratch_loss_after": float(np.nanmin(scratch_courses[:, -1])),
    }
