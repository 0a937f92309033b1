"""Learnable prompts: context vectors before the words of each class (few_shot_localization.txt section 4.2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from anomalabel.backbones.image_text import ImageTextModel

NEUTRAL_WORDS = "image showing"
"""Where learning starts: words before any class that every text tower knows and that favour none."""

NOISE = 0.1
"""Standard deviation of the starting noise, relative to that of the neutral words' embeddings."""


class LearnablePrompts(nn.Module):
    """[p_1, ..., p_L] of eq. 4, one set of vectors for each of the classes healthy and diseased.

    They live in the token-embedding space of one text tower and mean nothing to another. All zero until learned or
    loaded; `starting_near_words` is where learning starts.

    Args:
        tokens: L.
        width: d, `ImageTextModel.context_width`.
    """

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.healthy_context = nn.Parameter(torch.zeros(tokens, width))
        self.diseased_context = nn.Parameter(torch.zeros(tokens, width))

    @classmethod
    def starting_near_words(
        cls, model: ImageTextModel, tokens: int, generator: torch.Generator, words: str = NEUTRAL_WORDS
    ) -> LearnablePrompts:
        """The embeddings of `words`, over and over up to the words of the class, with a little noise.

        Repeated, since that keeps the texts nearer to what they are without context than blanks in front do (embedded
        model, L = 8, the prompts of the shipped configs: mean cosine 0.97 against 0.95).

        Args:
            tokens: L.
            generator: on the CPU, for the noise, which is another for each class.
        """
        known = model.word_embeddings(words).cpu()
        start = known.repeat(math.ceil(tokens / len(known)), 1)[-tokens:]
        prompts = cls(tokens, model.context_width)
        with torch.no_grad():
            for context in (prompts.healthy_context, prompts.diseased_context):
                context.copy_(start + NOISE * known.std() * torch.randn(start.shape, generator=generator))
        return prompts.to(model.device)

    def healthy(self, model: ImageTextModel, texts: Sequence[str]) -> Tensor:
        """Texts for health behind their context: (n, D) unit vectors, differentiable.

        Raises:
            PromptError: context and words are more than the text tower reads.
            ModelError: the context was learned with another text tower.
        """
        return model.encode_with_context(texts, self.healthy_context)

    def diseased(self, model: ImageTextModel, texts: Sequence[str]) -> Tensor:
        """Texts for disease behind their context; otherwise as `healthy`."""
        return model.encode_with_context(texts, self.diseased_context)


def prompt_loss(
    images: Tensor, healthy: Tensor, diseased: Tensor, temperature: float, is_diseased: Tensor | None = None
) -> Tensor:
    """Mean of -log P(y | I, p) (eq. 5), the softmax over the two classes.

    A class is as similar as its best text, softly: temperature * log mean exp(similarity / temperature) over its texts.
    The mean of the similarities would ask an image of one disease to resemble the texts of all; the hard maximum would
    teach one text at a time. The mean inside the logarithm keeps the class with more texts from winning by number.

    Healthy images alone, as eq. 5 has it, do not suffice: the loss is then least for disease texts that resemble no
    image at all, and health texts that resemble any. Images with planted anomalies, labelled so, hold against it.

    Args:
        images: (N, D) unit vectors, of images or patches. healthy: (n, D), diseased: (m, D) unit vectors of texts.
        temperature: above 0.
        is_diseased: (N,) 1 or true where the right class is disease, values between for shares; None = all healthy.

    Returns:
        () tensor; 0 for N = 0.
    """
    logits = _class_similarity(images, diseased, temperature) - _class_similarity(images, healthy, temperature)
    target = torch.zeros_like(logits) if is_diseased is None else is_diseased.to(logits)
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="sum") / max(len(images), 1)


def _class_similarity(images: Tensor, texts: Tensor, temperature: float) -> Tensor:
    """(N,): the soft best similarity, in units of the temperature."""
    return torch.logsumexp(images @ texts.T / temperature, dim=1) - math.log(len(texts))
