"""The one protocol behind which every image-text model stands, and its open_clip implementation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import open_clip
import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.backbones.embedded_model import EmbeddedModel
from anomalabel.backbones.towers import ImageTower, image_tower, normaliser
from anomalabel.errors import PromptError
from anomalabel.finding import ModelIdentity


class ImageTextModel(Protocol):
    """A frozen image-text model: texts to vectors, images to tokens to vectors in the same space."""

    identity: ModelIdentity
    device: torch.device
    dtype: torch.dtype
    side: int
    tower: ImageTower
    logit_scale: float

    def normalise(self, images: Tensor) -> Tensor:
        """Grey images (N, side, side) in [0, 1] to the tower's input (N, 3, side, side)."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Each text to a unit vector (n, D), float32.

        Raises:
            PromptError: a text is longer than the text tower reads.
        """
        ...

    def unknown_words(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Words that the model never saw, as far as that is known."""
        ...


class OpenClipModel:
    """Any open_clip model whose image tower is a ViT, or the embedded model, frozen, on one device.

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
        self.tower = image_tower(model.visual)
        size = model.visual.image_size
        self.side = int(size[0] if isinstance(size, tuple | list) else size)
        self.logit_scale = float(model.logit_scale.exp())
        self._model = model
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._mean, self._std = normaliser(model.visual, device)

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

    def unknown_words(self, texts: Sequence[str]) -> tuple[str, ...]:
        if self._vocabulary is None:
            return ()
        words = {word.lower() for text in texts for word in _words(text)}
        return tuple(sorted(words - self._vocabulary))

    def _check_length(self, text: str) -> None:
        limit = self._tokenizer.context_length
        used = self._count_tokens(text)
        if used > limit:
            raise PromptError(
                f"The prompt '{text[:60]}...' has {used} tokens; the text tower of {self.identity.name} reads {limit}.",
                "Shorten it, or split it into several prompts.",
            )

    def _count_tokens(self, text: str) -> int:
        """Tokens with start and end, before anything is cut off."""
        if isinstance(self._tokenizer, open_clip.SimpleTokenizer):
            return len(self._tokenizer.encode(text)) + 2
        return len(self._tokenizer.tokenizer(text)["input_ids"])


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalpha() else " " for letter in text).split()
