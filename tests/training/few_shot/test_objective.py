"""Each loss by hand, and that a switch adds its own loss and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as functional

from anomalabel.config import FewShotSettings
from anomalabel.localization.few_shot.grid import GridFeatures
from anomalabel.localization.few_shot.head import FewShotHead, HeadShape
from anomalabel.localization.few_shot.model import ClassTexts
from anomalabel.localization.similarity import alignment_loss
from anomalabel.training.few_shot.objective import Batch, objective, pooled
from anomalabel.training.losses import simclr_loss

CHANNELS = (3, 4)


def features(seed, count=3):
    generator = torch.Generator().manual_seed(seed)
    levels = tuple(torch.randn(count, 4, channels, generator=generator) for channels in CHANNELS)
    seen = torch.ones(count, 4, dtype=torch.bool)
    seen[0, 3] = False
    return GridFeatures(levels, seen, (2, 2))


@pytest.fixture
def texts():
    generator = torch.Generator().manual_seed(8)
    vectors = functional.normalize(torch.randn(4, 4, generator=generator), dim=1)
    return ClassTexts(vectors[:3], vectors[3:])


PLACE = torch.tensor([[0.0, 0.0, 0.0, 1.0], [0.9, 0.6, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0]])


def losses_of(texts, batch, seed=0, **values):
    settings = FewShotSettings.model_validate(values)
    head = FewShotHead(HeadShape.of(CHANNELS, 1, 4, settings), torch.Generator().manual_seed(seed))
    return objective(head, texts, batch, settings), head


def test_alignment_is_the_mean_over_levels_of_eq_8_on_seen_patches(texts):
    batch = Batch(features(0), PLACE)
    losses, head = losses_of(texts, batch, temperature=0.3)
    assert set(losses) == {"alignment"}
    # The unseen patch of the first view is anomalous, and does not count.
    place = PLACE.clone()
    place[0, 3] = math.nan
    vectors = head.vectors(head.scaled(batch.features), batch.features.seen)
    expected = [alignment_loss(one, texts.healthy, texts.diseased, place, 0.3) for one in vectors]
    torch.testing.assert_close(losses["alignment"], torch.stack(expected).mean())


def test_prompts_add_eq_5_where_a_view_with_a_patch_of_anomaly_is_a_disease(texts):
    batch = Batch(features(0), PLACE)
    losses, head = losses_of(texts, batch, prompts={"enabled": True}, temperature=0.5)
    assert set(losses) == {"alignment", "prompts"}
    vectors = head.vectors(head.scaled(batch.features), batch.features.seen)
    expected = []
    for view, diseased in enumerate((False, True, False)):
        seen = [patch for patch in range(4) if batch.features.seen[view, patch]]
        images = [
            torch.stack([one[view, patch] / one[view, patch].norm() for patch in seen]).mean(0) for one in vectors
        ]
        image = torch.stack(images).mean(0)
        image = image / image.norm()

        def similarity(of, image=image):
            return float(torch.stack([(image @ text / 0.5).exp() for text in of]).mean().log().detach())

        logit = similarity(texts.diseased) - similarity(texts.healthy)
        expected.append(math.log1p(math.exp(-logit if diseased else logit)))
    assert float(losses["prompts"].detach()) == pytest.approx(sum(expected) / 3, abs=1e-5)


def test_simclr_compares_pooled_vectors_of_two_views(texts):
    pair = (features(1), features(2))
    losses, head = losses_of(
        texts, Batch(features(0), PLACE, pair), simclr={"enabled": True, "weight": 0.25, "temperature": 0.4}
    )
    sides = [
        functional.normalize(
            torch.cat([pooled(one, side.seen) for one in head.vectors(head.scaled(side), side.seen)], 1), dim=1
        )
        for side in pair
    ]
    torch.testing.assert_close(losses["simclr"], 0.25 * simclr_loss(*sides, 0.4))
    assert set(losses_of(texts, Batch(features(0), PLACE, None), simclr={"enabled": True})[0]) == {"alignment"}
    assert set(losses_of(texts, Batch(features(0), PLACE, pair))[0]) == {"alignment"}


def test_distillation_is_eq_13_on_seen_patches(texts):
    teacher = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(4))
    batch = Batch(features(0), PLACE, None, teacher)
    values = {"enabled": True, "teacher": "big", "alpha": 0.3, "temperature": 2.0}
    losses, head = losses_of(texts, batch, distillation=values)
    seen = batch.features.seen
    logit = head(head.scaled(batch.features), seen, texts.healthy, texts.diseased, 0.1).detach()
    each = []
    for view in range(3):
        for patch in range(4):
            if not seen[view, patch]:
                continue
            student = torch.tensor([0.0, float(logit[view, patch])])
            label = int(PLACE[view, patch] > 0.5)
            of_teacher = (teacher[view, patch] / 2).softmax(0)
            soft = (of_teacher * (of_teacher.log() - (student / 2).log_softmax(0))).sum()
            each.append(0.3 * -float(student.log_softmax(0)[label]) + 0.7 * float(soft))
    assert float(losses["distillation"].detach()) == pytest.approx(sum(each) / len(each), rel=1e-4)
    assert set(losses_of(texts, batch)[0]) == {"alignment"}


def test_a_view_of_which_nothing_is_seen_pools_to_zero():
    vectors = torch.ones(2, 4, 3)
    seen = torch.tensor([[True] * 4, [False] * 4])
    torch.testing.assert_close(pooled(vectors, seen)[0], torch.full((3,), 3**-0.5))
    assert not pooled(vectors, seen)[1].any()
