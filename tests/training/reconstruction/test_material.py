"""Healthy images as slices in memory: which are held out, where they hide something, and what is computed once."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from anomalabel.config import AnatomyConfig, load_config
from anomalabel.errors import Cancelled, ConfigError
from anomalabel.finding import ModelIdentity
from anomalabel.localization.patch_features import CutSlice, FeatureStore
from anomalabel.reconstruction.region import suspected_regions
from anomalabel.reconstruction.saliency import SaliencySources, saliency_maps
from anomalabel.training.reconstruction.material import LOOKING, HealthyCuts, gather_material, held_out_count

SIDE = 64


class BlockMeans:
    """A saliency: means of 4 x 4 blocks of a 16-pixel square; counts its batches."""

    side = 16
    level_weights = (1.0,)
    text_level = None
    identity = ModelIdentity(name="block means", weights_sha256="3" * 64)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def patch_features(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.batches.append(len(images))
        return (torch.nn.functional.avg_pool2d(images[:, None], 4),)


class Sources:
    """Images of so many slices each, cut when they are asked for; notes in which order."""

    def __init__(self, *counts: int) -> None:
        self.counts, self.asked = counts, []

    def cuts(self, number: int) -> HealthyCuts:
        self.asked.append(number)
        slices = [self.slice(number, place) for place in range(self.counts[number])]
        return HealthyCuts(f"{number}.png", slices)

    def slice(self, number: int, place: int) -> CutSlice:
        pixels = np.random.default_rng([number, place]).uniform(0.1, 1, (SIDE, SIDE)).astype(np.float32)
        seen = np.ones((SIDE, SIDE), dtype=bool)
        seen[:, : 4 * place] = False
        return CutSlice(np.where(seen, pixels, 0).astype(np.float32), seen, (1.0, 1.0))

    @property
    def lazily(self) -> list[partial[HealthyCuts]]:
        return [partial(self.cuts, number) for number in range(len(self.counts))]


def silent(stage: str, done: int, total: int) -> None:
    """Nobody watches."""


@pytest.fixture
def config(make_settings) -> AnatomyConfig:
    """Slices in batches of 4; a fifth is held out."""
    settings = make_settings(held_out=0.2).model_copy(update={"batch_size": 4})
    return load_config("brain_mri").model_copy(update={"reconstruction": settings})


@pytest.mark.parametrize(
    ("images", "share", "held_out"),
    [(8, 0.01, 4), (8, 0.5, 4), (20, 0.2, 4), (25, 0.2, 5), (53, 0.2, 11), (100, 0.5, 50)],
)
def test_how_many_images_are_held_out(images, share, held_out):
    assert held_out_count(images, share) == held_out
    assert images - held_out >= 4


@pytest.mark.parametrize("images", [0, 1, 7])
def test_too_few_images(images, config):
    with pytest.raises(ConfigError, match=rf"needs 8 healthy images, {images} came.*few-shot localization"):
        held_out_count(images, 0.2)
    sources = Sources(*[1] * images)
    with pytest.raises(ConfigError, match="needs 8 healthy images"):
        gather_material(sources.lazily, SaliencySources((), ""), config, None, silent)
    assert sources.asked == []


def test_whole_images_are_held_out_the_last_ones(config):
    sources = Sources(1, 3, 1, 2, 5, 1, 1, 2, 3, 1)
    material = gather_material(sources.lazily, SaliencySources((), ""), config, None, silent)
    learnt = [f"{number}.png" for number in range(6) for _ in range(sources.counts[number])]
    held_out = [f"{number}.png" for number in range(6, 10) for _ in range(sources.counts[number])]
    assert (material.learnt.names, material.held_out.names) == (tuple(learnt), tuple(held_out))
    assert not set(learnt) & set(held_out)
    assert material.owners == (0, 1, 1, 2, 2, 2, 3)
    assert sources.asked == list(range(10))


def test_slices_in_half_precision_with_their_field_of_view(config):
    sources = Sources(1, 1, 1, 1, 1, 1, 1, 2)
    material = gather_material(sources.lazily, SaliencySources((), ""), config, None, silent)
    assert (material.learnt.images.dtype, material.learnt.side, len(material.learnt)) == (torch.float16, SIDE, 4)
    preprocessing, side = config.preprocessing, config.reconstruction.side
    last = sources.slice(7, 1)
    framed = last.framed(side, preprocessing)
    np.testing.assert_allclose(material.held_out.images[-1], framed.image, atol=5e-4)
    np.testing.assert_array_equal(material.held_out.inside[-1], framed.body >= 0.5)
    assert not material.held_out.inside[-1].all()
    assert not material.learnt.hidden.any()
    assert not material.held_out.hidden.any()


def test_each_slice_hides_what_its_own_saliency_suspects(config):
    encoder, sources = BlockMeans(), Sources(2, 1, 1, 1, 1, 1, 1, 3)
    saliency = SaliencySources((encoder,), "")
    material = gather_material(sources.lazily, saliency, config, None, silent)
    assert sum(encoder.batches) == sum(sources.counts)
    threshold = config.reconstruction.mosaic.threshold_sd
    expected = []
    for number, count in enumerate(sources.counts):
        for place in range(count):
            (one,) = saliency_maps(saliency, config.preprocessing, [sources.slice(number, place)], None, 1)
            inside = torch.from_numpy(sources.slice(number, place).framed(SIDE, config.preprocessing).body >= 0.5)
            expected.append(suspected_regions(torch.from_numpy(one)[None], inside[None], threshold)[0])
    found = torch.cat([material.learnt.hidden, material.held_out.hidden])
    assert torch.equal(found, torch.stack(expected))
    assert found.flatten(1).any(1).all()


def test_saliency_is_computed_in_batches_and_once(config):
    encoder, sources, store = BlockMeans(), Sources(*[1] * 9, 6, 1), FeatureStore()
    first = gather_material(sources.lazily, SaliencySources((encoder,), ""), config, store, silent)
    # Images wait until there are enough of them for a batch; one with many slices fills more than one.
    assert encoder.batches == [4, 4, 4, 3, 1]
    again = gather_material(sources.lazily, SaliencySources((encoder,), ""), config, store, silent)
    assert encoder.batches == [4, 4, 4, 3, 1]
    assert torch.equal(first.learnt.hidden, again.learnt.hidden)
    assert torch.equal(first.held_out.images, again.held_out.images)


def test_no_more_images_are_open_than_a_batch_takes(config, monkeypatch):
    from anomalabel.training.reconstruction import material as material_file

    sources, open_at_once = Sources(*[1] * 10), []
    told = {"asked": 0}

    def look(saliency, preprocessing, cuts, store, size):
        open_at_once.append(len(sources.asked) - told["asked"])
        told["asked"] = len(sources.asked)
        return saliency_maps(saliency, preprocessing, cuts, store, size)

    monkeypatch.setattr(material_file, "saliency_maps", look)
    gather_material(sources.lazily, SaliencySources((), ""), config, None, silent)
    assert open_at_once == [4, 4, 2]


def test_watch_hears_of_every_image_and_may_end_it(config):
    heard: list[tuple[str, int, int]] = []
    sources = Sources(*[1] * 8)
    gather_material(sources.lazily, SaliencySources((), ""), config, None, lambda *told: heard.append(told))
    assert heard == [(LOOKING, done, 8) for done in range(9)]

    def cancel(stage: str, done: int, total: int) -> None:
        if done == 5:
            raise Cancelled

    encoder, store = BlockMeans(), FeatureStore()
    with pytest.raises(Cancelled):
        gather_material(sources.lazily, SaliencySources((encoder,), ""), config, store, cancel)
    gather_material(sources.lazily, SaliencySources((encoder,), ""), config, store, silent)
    assert encoder.batches == [4, 4]


@pytest.mark.parametrize(("images", "warned"), [(8, True), (49, True), (50, False)])
def test_few_images_are_warned_of(config, images, warned):
    material = gather_material(Sources(*[1] * images).lazily, SaliencySources((), ""), config, None, silent)
    assert bool(material.warnings) is warned
    if warned:
        (text,) = material.warnings
        assert text.startswith(f"Learned from {images} healthy images; with fewer than 50 ")
        assert "lights up" in text
