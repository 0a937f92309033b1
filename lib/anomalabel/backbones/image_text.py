"""The one protocol behind which every image-text model stands, and its open_clip implementation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import open_clip
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from anomalabel.backbones.embedded_model import EmbeddedModel
from anomalabel.backbones.text_context import ContextReader, word_codes
from anomalabel.backbones.towers import ImageTower, image_tower, normaliser
from anomalabel.errors import PromptError
from anomalabel.finding import ModelIdentity


class ImageTextModel(Protocol):
    """A frozen image-text model: texts to vectors, images to tokens to vectors in the same space.

    `context_width` is the number of components d of a learned context vector; see `encode_with_context`; `visual` the
    image network.
    """

    identity: ModelIdentity
    device: torch.device
    dtype: torch.dtype
    side: int
    visual: nn.Module
    logit_scale: float
    context_width: int

    @property
    def tower(self) -> ImageTower:
        """The image network, to be cut at a block; ModelError where it is no plain ViT."""
        ...

    def normalise(self, images: Tensor) -> Tensor:
        """Grey images (N, side, side) in [0, 1] to the tower's input (N, 3, side, side)."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Each text to a unit vector (n, D), float32.

        Raises:
            PromptError: a text is longer than the text tower reads.
        """
        ...

    def encode_with_context(self, texts: Sequence[str], context: Tensor) -> Tensor:
        """Each text behind learned vectors that stand where words would (few_shot_localization.txt eq. 4).

        Args:
            context: (L, context_width) for all texts, or (n, L, context_width). With L = 0 the vectors are those of
                `encode_texts` up to rounding, computed at the length of the longest text where the tower allows it.

        Returns:
            (n, D) unit vectors, float32, differentiable with respect to the context; the weights have no gradient.

        Raises:
            PromptError: L and a text's tokens are more than the text tower reads.
            ModelError: the context fits another text tower.
        """
        ...

    def word_embeddings(self, text: str) -> Tensor:
        """(k, context_width): what the k tokens of a text are to the text tower, without start and end."""
        ...

    def spare_tokens(self, text: str) -> int:
        """How many more tokens would fit beside a text; negative where it is too long."""
        ...

    def unknown_words(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Words that the model never saw, as far as that is known."""
        ...


class OpenClipModel:
    """Any open_clip model, or the embedded model, frozen, on one device.

    Args:
        model: on any device; moved, frozen and set to `dtype` (text tower: float32).
        tokenizer: the model's own.
        identity: name and hash of the weights.
        vocabulary: lower-case words the text tower was trained on; None where nobody wrote them down.
    """

    def __init__(
        self,
        model: open_clip.CLIP | open_clip.CustomTextCLIP | EmbeddedModel,
        tokenizer: open_clip.SimpleTokenizer | open_clip.tokenizer.HFTokenizer,
        identity: ModelIdentity,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        vocabulary: frozenset[str] | None = None,
    ) -> None:
        model.eval().requires_grad_(False).to(device)
        model.visual.to(dtype)
        self.identity = identity
        self.device = device
        self.dtype = dtype
        self.visual: nn.Module = model.visual
        size = model.visual.image_size
        self.side = int(size[0] if isinstance(size, tuple | list) else size)
        self.logit_scale = float(model.logit_scale.exp())
        self._model = model
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._contexts = ContextReader(model, tokenizer)
        self.context_width = self._contexts.width
        self._mean, self._std = normaliser(model.visual, device)

    @cached_property
    def tower(self) -> ImageTower:
        """See `ImageTextModel.tower`; made when it is first asked for."""
        return image_tower(self.visual)

    def normalise(self, images: Tensor) -> Tensor:
        colour = images.to(self.device)[:, None].expand(-1, 3, -1, -1)
        return ((colour - self._mean) / self._std).to(self.dtype)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        for text in texts:
            self._check_length(text)
        codes = self._tokenizer(list(texts)).to(self.device)
        with torch.inference_mode():
            vectors = self._model.encode_text(codes).float()
        return functional.normalize(vectors, dim=-1).clone()

    def encode_with_context(self, texts: Sequence[str], context: Tensor) -> Tensor:
        self._contexts.check(context, len(texts))
        for text in texts:
            self._check_length(text, context.shape[-2])
        codes = self._tokenizer(list(texts)).to(self.device)
        return functional.normalize(self._contexts.encode(codes, context.to(self.device)).float(), dim=-1)

    def word_embeddings(self, text: str) -> Tensor:
        return self._contexts.word_embeddings(text)

    def spare_tokens(self, text: str) -> int:
        return int(self._tokenizer.context_length) - self._count_tokens(text)

    def unknown_words(self, texts: Sequence[str]) -> tuple[str, ...]:
        if self._vocabulary is None:
            return ()
        words = {word.lower() for text in texts for word in _words(text)}
        return tuple(sorted(words - self._vocabulary))

    def _check_length(self, text: str, context: int = 0) -> None:
        limit = self._tokenizer.context_length
        used = self._count_tokens(text) + context
        if used > limit:
            learned = f", {context} of them learned" if context else ""
            instead = "learn fewer tokens" if context else "split it into several prompts"
            raise PromptError(
                f"The prompt '{text[:60]}...' has {used} tokens{learned}; "
                f"the text tower of {self.identity.name} reads {limit}.",
                f"Shorten it, or {instead}.",
            )

    def _count_tokens(self, text: str) -> int:
        """Tokens with start and end, before anything is cut off."""
        if isinstance(self._tokenizer, open_clip.SimpleTokenizer):
            return len(word_codes(self._tokenizer, text)) + 2
        return len(self._tokenizer.tokenizer(text)["input_ids"])


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalpha() else " " for letter in text).split()
