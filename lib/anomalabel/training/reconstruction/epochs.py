"""Epochs of a training: what is drawn, how fast it learns, and by what it is judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from anomalabel.config import AugmentationSettings
from anomalabel.config.reconstruction import ReconstructionTraining
from anomalabel.training.reconstruction.batches import CHANGES, UNCHANGED, Draws, draw_epoch
from anomalabel.training.reconstruction.learner import TOTAL, Learner, Losses
from anomalabel.training.reconstruction.slices import HealthySlices
from anomalabel.training.reconstruction.state import TrainingState

WARMUP_SHARE = 0.05
"""Of all steps, in which the learning rate rises. It is short, so that the patience is not spent on it."""

FINAL_RATE = 0.01
"""Of the learning rate, at the end of its cosine."""

JUDGED_SLICES = 256
"""Held-out slices at most that each epoch is judged by, evenly spread; epochs are compared on the same ones."""

Watch = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is; may raise Cancelled."""


@dataclass(frozen=True)
class Epochs:
    """The epochs of one training.

    Args:
        learner: takes the steps.
        state: where the training is; its losses go there.
        learnt, held_out: slices to learn from, and to be judged by.
        augmentation: what the anatomy allows.
        seed: of what is drawn.
        watch: asked after every step.
    """

    learner: Learner
    state: TrainingState
    learnt: HealthySlices
    held_out: HealthySlices
    augmentation: AugmentationSettings
    seed: int
    watch: Watch

    def run_next(self) -> None:
        """Learn from an epoch's draws, judge, and count it.

        Raises:
            NotFiniteError: a loss is NaN or infinite; the epoch is not counted.
            Cancelled: the watch says so.
        """
        learner, training = self.learner, self._training
        batches = draw_epoch(
            len(self.learnt), training.samples, training.batch_size, self._blocks, self.seed, self.state.epochs
        )
        changed = self.augmentation if training.augmentation else UNCHANGED
        done = self.state.epochs * len(batches)
        self._tell(done)
        sums = torch.zeros(len(learner.loss_names), device=learner.device)
        for draws in batches:
            sums += learner.learn(self.learnt, draws, changed, self._rate(done))
            done += 1
            self._tell(done)
        self._judge(learner.means(sums, training.samples), done)

    def tell_end(self) -> None:
        """An early stop leaves nothing to be done either."""
        self._tell(self._steps)

    def _judge(self, learned: Losses, done: int) -> None:
        judged = self.learner.judge(self.held_out, self.held_out_draws(done))
        self.state.history += [("training", done, learned), ("held out", done, judged)]
        self.state.finish_epoch(judged[TOTAL])

    def held_out_draws(self, done: int) -> Iterator[Draws]:
        """What each epoch is judged by: the same slices under each of the mosaics, unchanged.

        Args:
            done: steps, for the watch, which is asked after each batch.
        """
        count = min(len(self.held_out), JUDGED_SLICES)
        numbers = torch.linspace(0, len(self.held_out) - 1, count, dtype=torch.float64).round().long()
        for block in self._blocks:
            for part in numbers.split(self._training.batch_size):
                yield Draws(part, torch.zeros(len(part), CHANGES), block)
                self._tell(done)

    def _tell(self, done: int) -> None:
        self.learner.processes.first_alone(partial(self.watch, "training", done, self._steps))

    def _rate(self, step: int) -> float:
        return self._training.learning_rate * schedule(step, self._steps)

    @property
    def _training(self) -> ReconstructionTraining:
        return self.learner.settings.training

    @property
    def _steps(self) -> int:
        training = self._training
        return training.epochs * -(-training.samples // training.batch_size)

    @property
    def _blocks(self) -> tuple[int | None, ...]:
        return (None,) if self.learner.settings.saliency == "none" else self.learner.settings.mosaic.blocks


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate at a step: a short linear rise, then half a cosine down to `FINAL_RATE`."""
    warm = max(round(steps * WARMUP_SHARE), 1)
    if step < warm:
        return (step + 1) / warm
    along = (step - warm) / max(steps - warm, 1)
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * along))
