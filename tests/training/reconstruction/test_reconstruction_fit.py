"""A training of the U-Net: that it learns, goes on after an end, and tells what spoils it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from anomalabel.config import ReconstructionSettings
from anomalabel.errors import Cancelled, ConfigError, ModelError, OutputError
from anomalabel.training.reconstruction.batches import UNCHANGED, Draws, draw_epoch, make_batch
from anomalabel.training.reconstruction.epochs import schedule
from anomalabel.training.reconstruction.fit import ReconstructionFit
from anomalabel.training.reconstruction.objective import objective
from anomalabel.training.reconstruction.slices import HealthySlices
from anomalabel.training.reconstruction.state import CheckpointPlace, remove_checkpoints

Fit = Callable[..., ReconstructionFit]
Make = Callable[..., ReconstructionSettings]
SLICES, STEPS = 16, 3
"""To learn from; and steps of an epoch of 10 samples in batches of 4."""


def weights(fit: ReconstructionFit) -> torch.Tensor:
    return torch.cat([one.flatten() for one in fit.network.state_dict().values()])


def drawn(epoch: int) -> set[int]:
    """Numbers of the slices that the usual training draws."""
    return {int(number) for one in draw_epoch(SLICES, 10, 4, (4, 8), 3, epoch) for number in one.numbers}


def with_nan(slices: HealthySlices, number: int) -> HealthySlices:
    images = slices.images.clone()
    images[number, 20, 20] = torch.nan
    return replace(slices, images=images)


def test_it_learns_and_the_best_epoch_is_returned(fit: Fit, held_out: HealthySlices, make_settings: Make) -> None:
    settings = make_settings(epochs=12, samples=16)
    found = fit(settings=settings)
    assert [(phase, step) for phase, step, _ in found.history] == [
        (phase, 4 * epoch) for epoch in range(1, 13) for phase in ("training", "held out")
    ]
    held = [losses["total"] for phase, _, losses in found.history if phase == "held out"]
    assert min(held) < 0.5 * held[0]
    assert found.best_epoch == 1 + held.index(min(held))
    assert not found.network.training
    assert found.warnings == ()
    # The same loss again, from the returned network.
    sums: dict[str, float] = {}
    for block in settings.mosaic.blocks:
        batch = make_batch(held_out, Draws(torch.arange(5), torch.zeros(5, 4), block), UNCHANGED, torch.device("cpu"))
        with torch.no_grad():
            restored = found.network(batch.shown)
        losses = objective(restored, batch.images, batch.inside, settings.losses, settings.similarity)
        for name, values in losses.items():
            sums[name] = sums.get(name, 0) + float(values.mean()) / 2
    told = found.history[2 * found.best_epoch - 1][2]
    assert set(told) == {"total", "l2", "ssim", "msgms"}
    assert {name: told[name] for name in sums} == pytest.approx(sums, rel=0.02)
    assert told["total"] == pytest.approx(sum(sums.values()), rel=0.02)


def test_the_seed_decides_what_is_learned(fit: Fit, plain: ReconstructionFit) -> None:
    again, other = fit(), fit(seed=4)
    assert torch.equal(weights(plain), weights(again))
    assert plain.history == again.history
    assert not torch.equal(weights(plain), weights(other))


def test_watch_hears_of_every_step(fit: Fit) -> None:
    heard: list[tuple[str, int, int]] = []
    fit(watch=lambda *told: heard.append(told))
    assert {(stage, total) for stage, _, total in heard} == {("training", 3 * STEPS)}
    done = [done for _, done, _ in heard]
    assert done == sorted(done)
    assert set(done) == set(range(3 * STEPS + 1))


@pytest.mark.parametrize("step", [2 * STEPS, 2 * STEPS + 1])
def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(
    fit: Fit, plain: ReconstructionFit, tmp_path: Path, step: int
) -> None:
    """Right after the second epoch's last step only the first is kept; within the third, the second."""
    heard: list[tuple[str, int]] = []

    def kill(stage: str, done: int, total: int) -> None:
        if done == step:
            raise Cancelled

    with pytest.raises(Cancelled):
        fit(watch=kill, checkpoints=tmp_path)
    assert len(list(tmp_path.glob("*/training_state.pt"))) == 1
    resumed = fit(watch=lambda stage, done, total: heard.append((stage, done)), checkpoints=tmp_path)
    epochs = (step - 1) // STEPS
    assert heard[:2] == [(f"going on after epoch {epochs}", 0), ("training", epochs * STEPS)]
    assert torch.equal(weights(resumed), weights(plain))
    assert resumed.history == plain.history
    assert resumed.best_epoch == plain.best_epoch


def test_a_finished_training_is_not_run_again(fit: Fit, tmp_path: Path) -> None:
    finished = fit(checkpoints=tmp_path)
    heard: list[int] = []
    again = fit(checkpoints=tmp_path, watch=lambda stage, done, total: heard.append(done))
    assert heard == [0, 3 * STEPS]
    assert torch.equal(weights(again), weights(finished))
    assert again.history == finished.history


def test_trainings_with_other_settings_do_not_meet(fit: Fit, plain: ReconstructionFit, tmp_path: Path) -> None:
    fit(checkpoints=tmp_path, fingerprint="others", seed=9)
    found = fit(checkpoints=tmp_path)
    assert torch.equal(weights(found), weights(plain))
    # The first 16 digits of `printf discs | sha256sum` and `printf others | sha256sum`.
    assert {one.name for one in tmp_path.iterdir()} == {"dc1ebc943e43e05c", "01db91d06032cc64"}


def test_checkpoints_are_removed_and_nothing_else(fit: Fit, tmp_path: Path) -> None:
    folder, other = tmp_path / "checkpoints", tmp_path / "other"
    fit(checkpoints=folder)
    shutil.copytree(folder, other)
    (other / "notes.txt").write_text("mine")
    remove_checkpoints(folder)
    remove_checkpoints(other)
    remove_checkpoints(tmp_path / "never")
    assert not folder.exists()
    assert [one.name for one in other.rglob("*")] == ["notes.txt"]


def test_it_stops_when_held_out_images_gain_nothing(fit: Fit, make_settings: Make, tmp_path: Path) -> None:
    heard: list[int] = []
    # At no learning rate to speak of the first epoch is as good as any.
    settings = make_settings(epochs=50, patience=2, learning_rate=1e-30)
    found = fit(settings=settings, checkpoints=tmp_path, watch=lambda stage, done, total: heard.append(done))
    assert (len(found.history), found.best_epoch) == (2 * 3, 1)
    assert heard[-1] == 50 * STEPS
    assert found.warnings == ()
    again = fit(settings=settings, checkpoints=tmp_path)
    assert again.history == found.history


def test_a_full_disk_is_told_and_the_checkpoint_before_stays(
    fit: Fit, plain: ReconstructionFit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def fill(stage: str, done: int, total: int) -> None:
        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full if done > STEPS else sync)

    with pytest.raises(OutputError, match="disk or its quota is full"):
        fit(watch=fill, checkpoints=tmp_path)
    monkeypatch.undo()
    kept = CheckpointPlace(tmp_path, "discs").read()
    assert kept is not None
    assert kept.step == 1
    assert torch.equal(weights(fit(checkpoints=tmp_path)), weights(plain))


def test_an_image_with_nan_is_named(fit: Fit, learnt: HealthySlices) -> None:
    number = min(drawn(0))
    with pytest.raises(ModelError, match=rf"learned nothing.*epoch 1.*at {number}\.png\. Look at these images"):
        fit(learnt=with_nan(learnt, number))


def test_a_held_out_image_with_nan_is_named(fit: Fit, held_out: HealthySlices) -> None:
    renamed = replace(held_out, names=tuple(f"held out {name}" for name in held_out.names))
    with pytest.raises(ModelError, match=r"at held out 3\.png\. Look"):
        fit(held_out=with_nan(renamed, 3))


def test_a_loss_that_turns_nan_ends_with_the_best_network_so_far(
    fit: Fit, plain: ReconstructionFit, learnt: HealthySlices, tmp_path: Path
) -> None:
    late = min(drawn(2) - drawn(1) - drawn(0))
    found = fit(learnt=with_nan(learnt, late), checkpoints=tmp_path)
    assert found.warnings == (
        f"Training stopped early: a loss in epoch 3 was no finite number, at {late}.png. The network of epoch "
        f"{found.best_epoch} is used.",
    )
    assert len(found.history) == 4
    assert found.history == plain.history[:4]
    assert torch.isfinite(weights(found)).all()
    kept = CheckpointPlace(tmp_path, "discs").read()
    assert kept is not None
    assert kept.step == 2
    assert torch.equal(weights(found), torch.cat([one.flatten() for one in kept.modules["best"].values()]))


def test_a_huge_learning_rate_is_told(fit: Fit, make_settings: Make) -> None:
    with pytest.raises(ModelError, match=r"learned nothing.*\.png.* lower reconstruction\.training\.learning_rate"):
        fit(settings=make_settings(learning_rate=1e35))


def test_slices_smaller_than_the_network_are_refused(fit: Fit, learnt: HealthySlices) -> None:
    small = HealthySlices(
        learnt.images[:, :32, :32], learnt.hidden[:, :32, :32], learnt.inside[:, :32, :32], learnt.names
    )
    with pytest.raises(ConfigError, match=r"from 64.*Raise reconstruction\.side"):
        fit(learnt=small, held_out=small)


def test_the_rate_rises_shortly_and_falls_to_a_hundredth() -> None:
    shares = [schedule(step, 100) for step in range(100)]
    assert shares[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    # Half a cosine over the other 95 steps.
    assert schedule(5 + 95 // 2, 95 + 5) == pytest.approx(0.505, abs=0.01)
    assert all(later <= sooner for sooner, later in pairwise(shares[5:]))
    assert schedule(99, 100) == pytest.approx(0.01, abs=0.001)
    assert [schedule(0, 1), schedule(1, 2)] == [1.0, 1.0]
