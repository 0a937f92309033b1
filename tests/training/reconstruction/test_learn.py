"""From slices to a model with thresholds: the level of held-out images, each judged by the level of the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from anomalabel.config import AnatomyConfig, ReconstructionSettings, load_config
from anomalabel.errors import Cancelled, ModelError
from anomalabel.localization.conformal import ConformalThreshold, PixelThreshold
from anomalabel.reconstruction.gradient_similarity import msgms_map
from anomalabel.reconstruction.mosaic import hide
from anomalabel.training.reconstruction import learn
from anomalabel.training.reconstruction.fit import ReconstructionFit
from anomalabel.training.reconstruction.learn import JUDGING, ReconstructionLearned, learn_model
from anomalabel.training.reconstruction.material import Material
from anomalabel.training.reconstruction.slices import HealthySlices

CPU = torch.device("cpu")
CELLS, CELL, BLOCK = 8, 8, 16
OWNERS = (0, 1, 1, 2, 3, 3, 3, 4)
"""Of eight held-out slices of five images."""


class Blurring(nn.Module):
    """What fitting comes to here: a network that blurs what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.width = nn.Parameter(torch.tensor(5.0))

    def forward(self, images: Tensor) -> Tensor:
        return functional.avg_pool2d(images, 5, 1, 2, count_include_pad=False)


def drawn(count: int, seed: int, name: str) -> HealthySlices:
    """Noise on a gradient; a square is hidden, and a border of changing width lies outside."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(count, 64, 64, generator=generator)
    images = (0.4 * noise + 0.5 * torch.linspace(0, 1, 64)).half()
    hidden, inside = torch.zeros(2, count, 64, 64, dtype=torch.bool)
    for number in range(count):
        hidden[number, 16:40, 8 : 24 + 2 * number] = True
        inside[number, 2 * number :, : 64 - number] = True
    return HealthySlices(images, hidden, inside, tuple(f"{name} {number}" for number in range(count)))


@pytest.fixture
def material() -> Material:
    return Material(drawn(3, 1, "learnt"), drawn(len(OWNERS), 2, "held out"), OWNERS, ("Few images.",))


def config_of(**values: object) -> AnatomyConfig:
    usual = {
        "side": 64,
        "channels": (4,) * 6,
        "mosaic": {"blocks": (BLOCK,)},
        "similarity": {"scales": 2},
        "errors": {"features": 0.0, "cell": CELL},
        "healthy_level": True,
        "batch_size": 3,
        "score": "top",
        "score_share": 0.05,
        "false_positive_rate": 0.3,
        "pixel_quantile": 0.9,
    }
    settings = ReconstructionSettings.model_validate(usual | values)
    return load_config("brain_mri").model_copy(update={"reconstruction": settings})


@pytest.fixture
def learned(material: Material, monkeypatch: pytest.MonkeyPatch):
    """What is learned where the fit gives the blurring network; arguments: settings, encoder and watch."""

    def fit(
        learnt, held_out, settings, augmentation, seed, device, watch, checkpoints, fingerprint
    ) -> ReconstructionFit:
        assert learnt is material.learnt
        assert (seed, device, checkpoints, fingerprint) == (5, CPU, Path("kept"), "all of it")
        return ReconstructionFit(Blurring().eval(), [("training", 1, {"total": 0.5})], 7, ("Stopped early.",))

    monkeypatch.setattr(learn, "fit_reconstruction", fit)

    def run(encode=None, watch=lambda *told: None, given: Material = material, **values) -> ReconstructionLearned:
        return learn_model(given, config_of(**values), encode, 5, CPU, watch, Path("kept"), "all of it")

    return run


def errors_of(slices: HealthySlices, settings: ReconstructionSettings) -> tuple[np.ndarray, np.ndarray]:
    """Errors (N, cells, cells) and what is inside, slice by slice and cell by cell."""
    images = slices.images[:, None].float()
    restored = Blurring()(hide(images, slices.hidden, BLOCK)).clamp(0, 1)
    pixels = msgms_map(images, restored, settings.similarity)[:, 0].detach().double().numpy()
    errors, inside = np.empty((len(slices), CELLS, CELLS)), np.empty((len(slices), CELLS, CELLS), dtype=bool)
    for number, row, column in np.ndindex(errors.shape):
        square = np.s_[number, row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        errors[number, row, column], inside[number, row, column] = pixels[square].mean(), slices.inside[square].any()
    return errors, inside


def level_of(errors: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of what lies at most two cells away, a tenth of the deviation of all added."""
    mean, deviation = np.empty((2, CELLS, CELLS))
    for row, column in np.ndindex(CELLS, CELLS):
        near = np.s_[:, max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        shown = errors[near][inside[near]]
        mean[row, column] = shown.mean()
        deviation[row, column] = shown.std() + 0.1 * errors[inside].std()
    return mean, deviation


def judged(errors: np.ndarray, inside: np.ndarray) -> tuple[list[float], list[np.ndarray]]:
    """Scores and maps of each image by the level of all other images, computed anew each time."""
    owners = np.array(OWNERS)
    scores, maps = [], []
    for number in range(max(OWNERS) + 1):
        own = owners == number
        mean, deviation = level_of(errors[~own], inside[~own])
        standardised = (errors[own] - mean) / deviation
        slices = []
        for values, shown in zip(standardised, inside[own], strict=True):
            highest = np.sort(values[shown])[::-1]
            slices.append(highest[: max(round(0.05 * len(highest)), 1)].mean())
        scores.append(max(slices))
        maps.append(np.where(inside[own], standardised, np.nan).astype(np.float32))
    return scores, maps


def test_level_and_thresholds_are_those_of_a_slow_reference(learned, material):
    found = learned()
    errors, inside = errors_of(material.held_out, found.model.settings)
    mean, deviation = level_of(errors, inside)
    np.testing.assert_allclose(found.model.levels["msgms"].mean, mean, rtol=1e-4)
    np.testing.assert_allclose(found.model.levels["msgms"].deviation, deviation, rtol=1e-4)
    scores, maps = judged(errors, inside)
    np.testing.assert_allclose(found.calibration.scores, scores, rtol=1e-3)
    image = ConformalThreshold.of(scores, 0.3, "refitted")
    pixel = PixelThreshold.of(maps, 0.9)
    assert found.calibration.image.value == pytest.approx(image.value, rel=1e-3)
    assert found.calibration.pixel.value == pytest.approx(pixel.value, rel=1e-3)
    assert (found.calibration.image.rule, found.calibration.pixel.rule) == (image.rule, pixel.rule)
    assert "5 held-out healthy images" in image.rule
    assert found.held_out_errors == {"msgms": pytest.approx(errors[inside].mean(), rel=1e-4)}


def test_leaving_an_image_out_of_the_level_changes_its_score(learned, material):
    """So that the reference above tells it from judging all by one level."""
    found = learned()
    errors, inside = errors_of(material.held_out, found.model.settings)
    own = found.model.slice_scores(found.model.map_of({"msgms": torch.from_numpy(errors)}), torch.from_numpy(inside))
    within = [max(score for score, owner in zip(own, OWNERS, strict=True) if owner == number) for number in range(5)]
    assert np.abs(np.subtract(found.calibration.scores, within)).min() > 5e-3 * max(np.abs(within))


def test_what_the_fit_says_is_kept(learned):
    found = learned()
    assert (found.history, found.best_epoch) == ([("training", 1, {"total": 0.5})], 7)
    assert found.warnings == ("Few images.", "Stopped early.")
    assert not any(parameter.requires_grad for parameter in found.model.network.parameters())


def test_without_healthy_level_images_are_judged_by_the_same_model(learned, material):
    found = learned(healthy_level=False, score="max")
    errors, inside = errors_of(material.held_out, found.model.settings)
    assert dict(found.model.levels) == {}
    own = np.array(OWNERS)
    scores = [float(errors[own == number][inside[own == number]].max()) for number in range(5)]
    np.testing.assert_allclose(found.calibration.scores, scores, rtol=1e-4)
    assert found.calibration.image.rule == ConformalThreshold.of(scores, 0.3, "chosen").rule
    assert "none is promised, since the model was chosen by them" in found.calibration.image.rule


def test_each_kind_has_its_level_and_both_are_weighted(learned, material):
    def encode(images: Tensor) -> Tensor:
        return functional.avg_pool2d(torch.cat([images, images**2], dim=1), CELL)

    found = learned(encode, errors={"msgms": 1.0, "features": 3.0, "cell": CELL})
    edges, inside = errors_of(material.held_out, found.model.settings)
    images = material.held_out.images[:, None].float()
    restored = Blurring()(hide(images, material.held_out.hidden, BLOCK)).clamp(0, 1)
    here, there = (encode(one).detach().double().numpy() for one in (images, restored))
    features = 1 - (here * there).sum(1) / np.linalg.norm(here, axis=1) / np.linalg.norm(there, axis=1)
    for kind, errors in (("msgms", edges), ("features", features)):
        mean, deviation = level_of(errors, inside)
        np.testing.assert_allclose(found.model.levels[kind].mean, mean, rtol=2e-3)
        np.testing.assert_allclose(found.model.levels[kind].deviation, deviation, rtol=2e-3)
        assert found.held_out_errors[kind] == pytest.approx(errors[inside].mean(), rel=2e-3)
    parts = [judged(errors, inside)[1] for errors in (edges, features)]
    scores = []
    for edge, feature in zip(*parts, strict=True):
        slices = []
        for values in 0.25 * edge + 0.75 * feature:
            highest = np.sort(values[np.isfinite(values)])[::-1]
            slices.append(highest[: max(round(0.05 * len(highest)), 1)].mean())
        scores.append(max(slices))
    np.testing.assert_allclose(found.calibration.scores, scores, rtol=1e-2)


def test_watch_hears_of_every_batch_and_may_end_it(learned):
    heard: list[tuple[str, int, int]] = []
    learned(watch=lambda *told: heard.append(told))
    assert heard == [(JUDGING, done, 8) for done in (0, 3, 6, 8)]

    def cancel(stage: str, done: int, total: int) -> None:
        if done == 6:
            raise Cancelled

    with pytest.raises(Cancelled):
        learned(watch=cancel)


def test_held_out_images_that_show_nothing_are_refused(learned, material):
    dark = HealthySlices(
        material.held_out.images,
        material.held_out.hidden,
        torch.zeros_like(material.held_out.inside),
        material.held_out.names,
    )
    given = Material(material.learnt, dark, OWNERS, ())
    with pytest.raises(ModelError, match="Nothing is seen in the held-out healthy images"):
        learned(given=given)


def test_copies_of_one_flat_image_are_refused(learned, material):
    flat = HealthySlices(
        torch.full_like(material.held_out.images, 0.5),
        torch.zeros_like(material.held_out.hidden),
        torch.ones_like(material.held_out.inside),
        material.held_out.names,
    )
    with pytest.raises(ModelError, match="same error everywhere"):
        learned(given=Material(material.learnt, flat, OWNERS, ()))
