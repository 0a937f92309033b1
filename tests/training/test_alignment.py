"""One training step's losses on a small model: which patches count as what, and what learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import open_clip
import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.backbones.embedded_model import EmbeddedModel, EmbeddedSettings
from anomalabel.backbones.hybrid import HybridSettings
from anomalabel.training import alignment
from anomalabel.training.alignment import AlignmentStep, LossWeights, encode_texts, text_loss
from anomalabel.training.captions import every_wording
from anomalabel.training.distillation import FeatureStatistics
from anomalabel.training.images import Batch, BatchMaker, BatchPlan, TrainingImages
from anomalabel.training.tokenizer import learn_merges, vocabulary_size, write_merges

MERGES = 60
IMAGE = HybridSettings(64, "resnet10t", depth=2, heads=4, embedding=16, feature_channels=(2, 3))
UNIT = FeatureStatistics(
    (torch.zeros(1, 2, 1, 1), torch.zeros(1, 3, 1, 1)), (torch.ones(1, 2, 1, 1), torch.ones(1, 3, 1, 1))
)


def teach(images: Tensor) -> tuple[Tensor, Tensor]:
    fine, coarse = (functional.avg_pool2d(images[:, None], stride) for stride in (8, 16))
    return fine.expand(-1, 2, -1, -1), coarse.expand(-1, 3, -1, -1)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> open_clip.SimpleTokenizer:
    path = tmp_path_factory.mktemp("words") / "merges.txt.gz"
    write_merges(path, learn_merges(every_wording(), MERGES))
    return open_clip.SimpleTokenizer(bpe_path=str(path), context_length=64)


@pytest.fixture
def model() -> EmbeddedModel:
    torch.manual_seed(0)
    vocabulary = vocabulary_size(learn_merges(every_wording(), MERGES))
    return EmbeddedModel(EmbeddedSettings(IMAGE, vocabulary, text_width=32, text_heads=2, text_layers=1))


@pytest.fixture
def batch(images: TrainingImages, plan: BatchPlan) -> Batch:
    return BatchMaker(images, plan, seed=0).draw()


@pytest.fixture
def aligned(model: EmbeddedModel, tokenizer: open_clip.SimpleTokenizer) -> Callable[..., AlignmentStep]:
    """A step with the small model, whose convolutions keep their statistics as in training."""

    def build(teacher=teach, weights: LossWeights | None = None) -> AlignmentStep:
        model.visual.trunk.eval()
        statistics = None if teacher is None else UNIT
        return AlignmentStep(model, tokenizer, teacher, statistics, weights or LossWeights(), seed=0)

    return build


def test_every_loss_is_finite_and_reaches_the_image_tower_alone(aligned, batch, model) -> None:
    losses = aligned().losses(batch)
    assert set(losses) == set(vars(LossWeights()))
    for name, loss in losses.items():
        assert torch.isfinite(loss), name
        assert loss > 0, name
        model.zero_grad()
        loss.backward(retain_graph=True)
        reached = [p.grad for p in model.visual.parameters() if p.grad is not None]
        assert any(gradient.any() for gradient in reached), name
        assert all(torch.isfinite(gradient).all() for gradient in reached), name
    assert all(parameter.grad is None for parameter in model.text.parameters())


def test_weights_are_factors_of_the_losses(aligned, batch) -> None:
    ones = LossWeights(**dict.fromkeys(vars(LossWeights()), 1.0))
    torch.manual_seed(1)
    single = aligned(weights=ones)
    torch.manual_seed(1)
    tripled = aligned(weights=replace(ones, pair=3.0, caption=0.0))
    plain, weighted = single.losses(batch), tripled.losses(batch)
    assert weighted["caption"] == 0
    for name in set(plain) - {"caption"}:
        assert weighted[name].item() == pytest.approx(plain[name].item() * (3 if name == "pair" else 1), rel=1e-4)


def test_without_a_teacher_nothing_is_imitated(aligned, batch) -> None:
    assert "imitation" not in aligned(teacher=None).losses(batch)


def test_patches_are_lesion_health_or_unknown_by_what_covers_them(aligned, batch, monkeypatch) -> None:
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def listen(patches, texts, place, inside, outside, scale):
        seen.append((place, inside[0], outside[0]))
        return patches.sum() * 0

    monkeypatch.setattr(alignment, "patch_text_loss", listen)
    aligned().losses(batch)
    assert len(seen) == 2, "half way and at the end"
    place, inside, outside = seen[0]
    assert place.shape == (10, 16)
    for row in range(10):
        for patch in range(16):
            y, x = divmod(patch, 4)
            covered = float(batch.lesion[row, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16].mean())
            value = float(place[row, patch])
            if not batch.located[row] or 0.01 < covered < 0.3:
                assert value != value
            else:
                assert value == (covered >= 0.3)
    assert (place[7] == 0).sum() >= 6, "a planted lesion's soft edge does not reach everywhere"
    texts = [*batch.positive, *batch.negative]
    healthy = [text.says.condition == "healthy" for text in texts]
    assert not inside[0][torch.tensor(healthy)].any()
    assert inside[0][0]
    assert not outside[0][~torch.tensor(healthy)].any()
    assert outside[0][10], "its own text of health"


def test_only_comparable_images_are_told_apart_by_status(aligned, batch, monkeypatch) -> None:
    asked: list[Tensor] = []

    def listen(images, positive, negative, diseased, scale):
        asked.append(diseased)
        return images.sum() * 0

    monkeypatch.setattr(alignment, "status_loss", listen)
    aligned().losses(batch)
    assert asked[0].tolist() == batch.diseased[2:].tolist()


def test_evidence_keeps_the_lesion_for_disease_and_the_rest_for_health(aligned, batch, model, monkeypatch) -> None:
    """With nothing dropped and noise of 0, the tokens tell what was kept."""
    monkeypatch.setattr(alignment, "KEPT", 1.0)
    monkeypatch.setattr(alignment, "DROPPED", 0.0)
    monkeypatch.setattr(torch, "randn", lambda *shape, **options: torch.zeros(*shape))
    step = aligned()
    layers = [torch.ones(10, 16, model.visual.width)] * 2
    coverage = functional.avg_pool2d(batch.lesion[:, None], 16).flatten(1)
    given: list[Tensor] = []

    def listen(tokens, layer):
        given.append(tokens)
        assert layer == 0, "at least one block lies above"
        return torch.ones(len(tokens), 16)

    monkeypatch.setattr(model.visual, "embed_from", listen)
    text = torch.ones(10, 16)
    step._evidence_loss(layers, batch, coverage, text, text)
    located = [row for row in (0, 1, 7, 9) if coverage[row].max() >= 0.3]
    kept = given[0][..., 0]
    count = len(located)
    assert count >= 2
    assert torch.equal(kept[:count], (coverage[located] >= 0.01).float())
    assert torch.equal(kept[count : 2 * count], (coverage[located] < 0.01).float())
    assert not kept[2 * count :].any(), "noise alone"


def test_steps_on_one_batch_lower_the_losses(aligned, batch, model) -> None:
    step = aligned()
    optimiser = torch.optim.AdamW(model.visual.parameters(), lr=1e-3)
    totals = []
    for _ in range(12):
        losses = step.losses(batch)
        total = torch.stack([losses[name] for name in ("status", "pair", "caption", "patch")]).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(total.item())
    assert totals[-1] < 0.8 * totals[0]


def test_few_tokens_encode_as_all(model, tokenizer) -> None:
    model.text.eval()
    texts = ["glioma", "small lesion in the upper half of the magnetic resonance image", "normal"]
    with torch.no_grad():
        expected = functional.normalize(model.encode_text(tokenizer(texts)), dim=-1)
        torch.testing.assert_close(encode_texts(model, tokenizer, texts), expected)
        torch.testing.assert_close(encode_texts(model, tokenizer, ["glioma"]), expected[:1])
    assert model.text.attn_mask.shape == (64, 64), "put back"


def test_texts_that_claim_the_same_come_together(model, tokenizer, images, plan) -> None:
    maker = BatchMaker(images, plan, 0)
    model.logit_scale.fill_(1.5)
    optimiser = torch.optim.AdamW(model.text.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = text_loss(model, tokenizer, maker.draw_words(48))["text"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    with torch.no_grad():
        sick, also_sick, healthy = encode_texts(model, tokenizer, ["glioma", "signs of astrocytoma", "healthy"])
    assert sick @ also_sick > sick @ healthy + 0.2
