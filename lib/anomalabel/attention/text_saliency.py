"""Attention for one side's texts as patch features, so that what keeps and caches those keeps attention too."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor

from anomalabel.attention.text_attention import mean_text_vectors, text_attention
from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.towers import check_layer
from anomalabel.config import AttentionSettings
from anomalabel.errors import PromptError
from anomalabel.finding import ModelIdentity

SALIENCY_VERSION = 1
"""Part of the hash. Raise it by hand with every change of `attention` that changes the map of the same pixels."""

WITHOUT_EFFECT = {"models", "batch_size", "specificity_bound"}
"""Attention settings that do not decide a map: the constants of other models, what runs together, and a warning."""


class TextSaliency:
    """M2IB attention (clap.txt eq. 1) for the mean vector of some texts: a `PatchEncoder` with one level.

    The level is (N, 1, rows, columns) on the model's patch grid, in nats, not scaled. A slice's map depends neither on
    the slices beside it nor on other texts.

    Args:
        model: frozen image-text model with a plain ViT.
        texts: at least one.
        attention: constants; those it holds for this very model count.
        seed: of the bottleneck's noise.

    Raises:
        ModelError: the image tower is no plain ViT, or the layer does not fit it.
        PromptError: no text, or one longer than the model reads.
    """

    level_weights = (1.0,)
    text_level: int | None = None

    def __init__(self, model: ImageTextModel, texts: tuple[str, ...], attention: AttentionSettings, seed: int) -> None:
        if not texts:
            raise PromptError("There is no text to draw attention for.", "Give at least one text for this side.")
        self._model, self._seed = model, seed
        self._attention = attention.for_model(model.identity.name)
        check_layer(model.tower, self._attention.layer)
        self._vectors = mean_text_vectors(model, [texts])
        self.side = model.side
        self.identity = ModelIdentity(
            name=f"attention of {model.identity.name} for {_shown(texts)}",
            weights_sha256=_hash(model, texts, self._attention, seed),
        )

    def patch_features(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `PatchEncoder.patch_features`; at most `batch_size` of the settings are optimised together.

        Raises:
            ModelError: the model answers with NaN or infinity.
        """
        parts = [
            text_attention(self._model, part, self._vectors, self._attention, self._seed)[0]
            for part in images.split(self._attention.batch_size)
        ]
        return (torch.cat(parts)[:, None].float(),)


def _hash(model: ImageTextModel, texts: tuple[str, ...], attention: AttentionSettings, seed: int) -> str:
    constants = attention.model_dump(mode="json", exclude=WITHOUT_EFFECT)
    told = [SALIENCY_VERSION, model.identity.weights_sha256, list(texts), constants, seed]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _shown(texts: tuple[str, ...]) -> str:
    rest = len(texts) - 1
    return f"'{texts[0]}'" + (f" and {rest} more" if rest else "")
