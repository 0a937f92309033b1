"""Learnable prompts and the loss they learn from (few_shot_localization.txt eq. 4 and 5)."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.errors import ModelError, PromptError
from anomalabel.prompts.context import NOISE, LearnablePrompts, prompt_loss

HEALTHY, DISEASED = ["normal brain", "healthy gray matter"], ["glioma", "tumor", "lesion of the brain"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def unit(rows: int, seed: int, width: int = 16) -> torch.Tensor:
    return functional.normalize(torch.randn(rows, width, generator=seeded(seed)), dim=-1)


def test_learning_starts_near_the_sentence_with_neutral_words(tiny_clip: OpenClipModel) -> None:
    known = tiny_clip.word_embeddings("normal brain")
    tokens = 2 * len(known) + 1
    prompts = LearnablePrompts.starting_near_words(tiny_clip, tokens, seeded(), words="normal brain")
    for context in (prompts.healthy_context, prompts.diseased_context):
        noise = context.detach() - torch.cat([known[-1:], known, known])
        assert noise.std().item() == pytest.approx(NOISE * known.std().item(), rel=0.2)
    assert not torch.equal(prompts.healthy_context, prompts.diseased_context)
    again = LearnablePrompts.starting_near_words(tiny_clip, tokens, seeded(), words="normal brain")
    torch.testing.assert_close(again.state_dict(), prompts.state_dict(), rtol=0, atol=0)


def test_fewer_places_than_words_keep_the_last_words(tiny_clip: OpenClipModel) -> None:
    known = tiny_clip.word_embeddings("normal brain")
    assert len(known) > 1
    context = LearnablePrompts.starting_near_words(tiny_clip, 1, seeded(), words="normal brain").healthy_context
    torch.testing.assert_close(context.detach(), known[-1:], rtol=0, atol=5 * NOISE * known.std().item())


def test_each_class_has_context_of_its_own(tiny_clip: OpenClipModel) -> None:
    prompts = LearnablePrompts.starting_near_words(tiny_clip, 4, seeded())
    healthy, diseased = prompts.healthy(tiny_clip, HEALTHY), prompts.diseased(tiny_clip, DISEASED)
    assert (healthy.shape, diseased.shape) == ((2, 16), (3, 16))
    torch.testing.assert_close(healthy, tiny_clip.encode_with_context(HEALTHY, prompts.healthy_context))
    torch.testing.assert_close(diseased, tiny_clip.encode_with_context(DISEASED, prompts.diseased_context))
    diseased.sum().backward()
    assert prompts.healthy_context.grad is None
    assert (prompts.diseased_context.grad.abs().sum(1) > 0).all()


def test_saved_and_loaded(tiny_clip: OpenClipModel) -> None:
    prompts = LearnablePrompts.starting_near_words(tiny_clip, 4, seeded())
    assert set(prompts.state_dict()) == {"healthy_context", "diseased_context"}
    loaded = LearnablePrompts(4, tiny_clip.context_width)
    loaded.load_state_dict(prompts.state_dict())
    torch.testing.assert_close(loaded.healthy(tiny_clip, HEALTHY), prompts.healthy(tiny_clip, HEALTHY))


def test_too_many_tokens_and_prompts_of_another_tower(tiny_clip: OpenClipModel) -> None:
    with pytest.raises(PromptError, match="64 of them learned"):
        LearnablePrompts(64, tiny_clip.context_width).healthy(tiny_clip, HEALTHY)
    with pytest.raises(ModelError, match="does not fit 2 texts"):
        LearnablePrompts(4, tiny_clip.context_width + 1).healthy(tiny_clip, HEALTHY)


def test_the_loss_computed_by_hand() -> None:
    image = torch.tensor([[1.0, 0.0]])
    healthy = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    diseased = torch.tensor([[0.6, 0.8]])
    score_healthy = (math.exp(1 / 0.5) + math.exp(0)) / 2
    score_diseased = math.exp(0.6 / 0.5)
    share = score_healthy / (score_healthy + score_diseased)
    assert float(prompt_loss(image, healthy, diseased, 0.5)) == pytest.approx(-math.log(share), rel=1e-6)
    labelled = prompt_loss(image.expand(2, 2), healthy, diseased, 0.5, torch.tensor([False, True]))
    assert float(labelled) == pytest.approx(-(math.log(share) + math.log(1 - share)) / 2, rel=1e-6)
    assert float(prompt_loss(image[:0], healthy, diseased, 0.5)) == 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(1, 5), repeats=st.integers(1, 4), temperature=st.floats(0.02, 2))
def test_saying_the_same_more_often_changes_nothing(seed: int, rows: int, repeats: int, temperature: float) -> None:
    images, healthy, diseased = unit(rows, seed), unit(3, seed + 1), unit(4, seed + 2)
    once = prompt_loss(images, healthy, diseased, temperature)
    torch.testing.assert_close(prompt_loss(images, healthy.repeat(repeats, 1), diseased, temperature), once)
    swapped = prompt_loss(images, diseased, healthy, temperature, torch.ones(rows))
    torch.testing.assert_close(swapped, once)


def test_a_cold_softmax_looks_at_the_best_text_alone() -> None:
    images, healthy, diseased = unit(6, 1), unit(3, 2), unit(4, 3)
    margin = (images @ diseased.T).amax(1) - (images @ healthy.T).amax(1)
    expected = functional.softplus(margin / 1e-3).mean()
    torch.testing.assert_close(prompt_loss(images, healthy, diseased, 1e-3), expected, rtol=0.02, atol=1e-6)


def test_prompts_learn_to_tell_healthy_from_planted(tiny_clip: OpenClipModel) -> None:
    """Images around two directions; before learning the texts know nothing of them."""
    middle = unit(2, 5)
    images = functional.normalize(
        middle.repeat_interleave(8, 0) + 0.1 * torch.randn(16, 16, generator=seeded(6)), dim=1
    )
    labels = torch.arange(16) >= 8
    prompts = LearnablePrompts.starting_near_words(tiny_clip, 4, seeded())
    optimiser = torch.optim.Adam(prompts.parameters(), lr=0.02)

    def loss() -> torch.Tensor:
        texts = prompts.healthy(tiny_clip, HEALTHY), prompts.diseased(tiny_clip, DISEASED)
        return prompt_loss(images, *texts, temperature=0.1, is_diseased=labels)

    before = loss().item()
    for _ in range(60):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    after = loss().item()
    assert after < 0.5 * before
    assert after < math.log(2)


def test_healthy_images_alone_teach_nothing_about_disease(tiny_clip: OpenClipModel) -> None:
    """Why labels are there: without them the loss falls for texts that call the planted images healthy too."""
    healthy_image = unit(1, 7)
    planted = functional.normalize(healthy_image + 0.7 * unit(1, 8), dim=-1)
    prompts = LearnablePrompts.starting_near_words(tiny_clip, 4, seeded())
    optimiser = torch.optim.Adam(prompts.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        texts = prompts.healthy(tiny_clip, HEALTHY), prompts.diseased(tiny_clip, DISEASED)
        prompt_loss(healthy_image, *texts, temperature=0.1).backward()
        optimiser.step()
    with torch.no_grad():
        texts = prompts.healthy(tiny_clip, HEALTHY), prompts.diseased(tiny_clip, DISEASED)
        assert prompt_loss(healthy_image, *texts, temperature=0.1) < 0.05
        assert prompt_loss(planted, *texts, temperature=0.1, is_diseased=torch.ones(1)) > math.log(2)
