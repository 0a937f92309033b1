"""Batches: the same image with and without its lesion, and texts that are true of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from anomalabel.errors import ConfigError
from anomalabel.training.facts import HEALTHY, PLANTED, place_of, truth_table
from anomalabel.training.images import Batch, BatchMaker, BatchPlan, TrainingImages


@pytest.fixture(scope="module")
def batch(images: TrainingImages, plan: BatchPlan) -> Batch:
    return BatchMaker(images, plan, seed=0).draw()


def test_rows_are_the_plans(batch: Batch) -> None:
    assert batch.images.shape == batch.lesion.shape == (10, 64, 64)
    conditions = ["glioma"] * 2 + ["pneumonia"] * 2 + [HEALTHY] * 2 + [HEALTHY, PLANTED] + [HEALTHY, "glioma"]
    assert [facts.condition for facts in batch.facts] == conditions
    assert batch.diseased.tolist() == [1, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    assert batch.clean.tolist() == [6, 8]
    assert batch.planted.tolist() == [7, 9]
    assert batch.comparable.tolist() == [False, False] + [True] * 8, "crops of a tumour are, single tumours not"
    assert batch.located.tolist() == [True, True, False, False, True, True, True, True, True, True]
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1


def test_a_planted_lesion_is_all_that_differs(batch: Batch) -> None:
    untouched, planted, shape = batch.images[6], batch.images[7], batch.lesion[7]
    difference = (untouched - planted).abs()
    assert difference[shape < 1e-3].median() < 0.04, "noise alone"
    assert difference[shape > 0.5].mean() > 0.05
    assert not batch.lesion[6].any()


def test_crops_are_with_and_without_the_lesion(batch: Batch) -> None:
    assert not batch.lesion[8].any()
    assert (batch.lesion[9] > 0.5).sum() > 64
    bright = batch.images[9][batch.lesion[9] > 0.9].mean()
    assert bright > batch.images[9][batch.lesion[9] < 0.1].mean() + 0.1


def test_captions_are_true_and_facts_say_where_the_lesion_came_to_lie(batch: Batch) -> None:
    for row, (facts, caption) in enumerate(zip(batch.facts, batch.captions, strict=True)):
        assert truth_table([caption.says], [facts])[0][0, 0]
        place = place_of(batch.lesion[row].numpy()) if facts.condition != HEALTHY else ("", "", "")
        assert (facts.side, facts.height, facts.size) == place
        positive, negative = batch.positive[row].says, batch.negative[row].says
        assert negative.condition == HEALTHY
        assert positive.condition not in (HEALTHY, "")
        assert (positive.side, positive.height, positive.size) == ("", "", "")


def test_brains_are_mirrored_and_chests_are_not(images: TrainingImages) -> None:
    """The heart lies on the left of every chest film."""
    half = np.zeros_like(images.image)
    half[:, :, :32] = 200
    plan = BatchPlan({("chest", "healthy"): 40, ("brain", "healthy"): 40}, {}, {})
    drawn = BatchMaker(replace(images, image=half), plan, 3).draw().images
    left = drawn[..., :32].mean((1, 2)) > drawn[..., 32:].mean((1, 2))
    assert left[:40].all()
    assert 8 < left[40:].sum() < 32


def test_one_seed_one_sequence_whatever_else_is_drawn(images: TrainingImages, plan: BatchPlan) -> None:
    torch.manual_seed(1)
    first, again = BatchMaker(images, plan, 5), BatchMaker(images, plan, 5)
    drawn = [first.draw(), first.draw()]
    torch.manual_seed(2)
    for one, other in zip(drawn, [again.draw(), again.draw()], strict=True):
        assert torch.equal(one.images, other.images)
        assert one.captions == other.captions
    assert not torch.equal(drawn[0].images, drawn[1].images)
    assert not torch.equal(BatchMaker(images, plan, 6).draw().images, drawn[0].images)


def test_words_for_and_against_disease_and_for_every_place(images: TrainingImages, plan: BatchPlan) -> None:
    captions = BatchMaker(images, plan, 0).draw_words(600)
    said = {(field, getattr(caption.says, field)) for caption in captions for field in vars(caption.says)}
    for field, values in {"side": ("left", "right"), "height": ("upper", "lower"), "size": ("small", "large")}.items():
        assert {(field, value) for value in values} <= said, "the text tower learns them here alone"
    healthy = sum(caption.says.condition == HEALTHY for caption in captions)
    assert 240 < healthy < 360


def test_one_anatomy_left_out(images: TrainingImages, plan: BatchPlan) -> None:
    brains, brain_plan = images.without("chest"), plan.without("chest")
    assert brains.condition.tolist() == ["glioma", "glioma", HEALTHY, HEALTHY]
    assert len(brains.image) == len(brains.lesion) == len(brains.located) == 4
    assert brain_plan.singles == {("brain", "glioma"): 2}
    assert (brain_plan.planted, brain_plan.crops) == ({"brain": 1}, {"brain": 1})
    chests = plan.without("brain")
    assert (chests.planted, chests.crops) == ({}, {})
    assert BatchMaker(brains, brain_plan, 0).draw().images.shape[0] == 6


@pytest.mark.parametrize("anatomy", ["knee", ""])
def test_an_anatomy_that_is_not_there_cannot_be_left_out(images: TrainingImages, anatomy: str) -> None:
    with pytest.raises(ConfigError, match="brain, chest"):
        images.without(anatomy)


def test_nor_can_the_only_one(images: TrainingImages) -> None:
    with pytest.raises(ConfigError, match="'brain'"):
        images.without("chest").without("brain")


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [
        (BatchPlan({("brain", "meningioma"): 1, ("brain", "glioma"): 1}, {}, {}), "image of brain meningioma\\."),
        (BatchPlan({}, {"breast": 1}, {}), "image of breast healthy"),
        (BatchPlan({}, {}, {"chest": 2}), "image of chest diseased with box or mask"),
    ],
)
def test_a_plan_for_images_that_are_not_there(images: TrainingImages, wanted: BatchPlan, missing: str) -> None:
    with pytest.raises(ConfigError, match=missing):
        BatchMaker(images, wanted, 0)


def test_lesions_too_large_for_a_crop_beside_them_end_the_search(images: TrainingImages) -> None:
    filled = replace(images, lesion=np.full_like(images.lesion, 255))
    with pytest.raises(ConfigError, match="No crops"):
        BatchMaker(filled, BatchPlan({}, {}, {"brain": 1}), 0).draw()


def test_a_batch_moves_with_its_texts(batch: Batch) -> None:
    moved = batch.to(torch.device("meta"))
    assert {moved.images.device.type, moved.planted.device.type, moved.located.device.type} == {"meta"}
    assert moved.captions == batch.captions
