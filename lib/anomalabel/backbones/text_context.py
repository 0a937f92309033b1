"""Text towers that read learned vectors where words would stand (few_shot_localization.txt section 4.2.2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

from anomalabel.backbones.embedded_model import EmbeddedModel
from anomalabel.errors import ModelError

PLACEHOLDER = "x"
"""Its first token holds the places of the learned vectors: any ordinary token does, since none is padding or an end."""


@dataclass(frozen=True)
class _Replacement:
    embedding: nn.Module
    context: Tensor
    start: int


_replacement: ContextVar[_Replacement | None] = ContextVar("replacement", default=None)
"""Of the calling thread alone: the same frozen tower reads other texts in other threads meanwhile."""


class ContextReader:
    """Lets a model's text tower read [start, context, words, end] instead of [start, words, end].

    Works on open_clip's own text transformers and on Hugging Face towers inside open_clip. It leaves hooks on the tower
    for good, which do nothing outside `encode`: adding and removing them would disturb threads that pass there.

    Args:
        network: the image-text model, on its device.
        tokenizer: the model's own.
    """

    def __init__(
        self,
        network: open_clip.CLIP | open_clip.CustomTextCLIP | EmbeddedModel,
        tokenizer: open_clip.SimpleTokenizer | open_clip.tokenizer.HFTokenizer,
    ) -> None:
        tower = network if isinstance(network, open_clip.CLIP) else network.text
        self._network, self._tokenizer = network, tokenizer
        self._embedding: nn.Embedding
        if isinstance(tower, HFTextEncoder):
            self._embedding = tower.transformer.get_input_embeddings()
            self._padding, self._trims = int(tower.config.pad_token_id), True
        else:
            self._embedding = tower.token_embedding
            self._padding, self._trims = 0, _is_causal(tower)
        self._embedding.register_forward_hook(_replace)
        if self._trims and isinstance(tower, TextTransformer):
            tower.transformer.register_forward_pre_hook(_fit_mask, with_kwargs=True)
        self._start = _start_tokens(tokenizer)
        self._placeholder = word_codes(tokenizer, PLACEHOLDER)[0]

    @property
    def width(self) -> int:
        """Components d of a learned vector: those of the tower's token embedding."""
        return int(self._embedding.weight.shape[1])

    def word_embeddings(self, text: str) -> Tensor:
        """(k, d) float32: the embeddings of a text's k tokens, without start and end."""
        codes = torch.tensor(word_codes(self._tokenizer, text), dtype=torch.long, device=self._embedding.weight.device)
        return self._embedding.weight.detach()[codes].float()

    def check(self, context: Tensor, count: int) -> None:
        """Raise ModelError where context is neither (L, d) nor (count, L, d)."""
        if context.dim() not in (2, 3) or context.shape[-1] != self.width or context.shape[:-2] not in ((), (count,)):
            raise ModelError(
                f"Context of shape {tuple(context.shape)} does not fit {count} texts of a tower {self.width} wide.",
                "Use context that was learned with this model.",
            )

    def encode(self, codes: Tensor, context: Tensor) -> Tensor:
        """Text vectors (n, D), not normalised, differentiable with respect to the context.

        No more tokens are computed than the longest text needs, where the tower's answer does not depend on padding.

        Args:
            codes: (n, context length) from the tokenizer, with at least L places of padding at the end.
            context: (L, d) for all texts, or (n, L, d); on the tower's device.
        """
        places = codes.shape[0], context.shape[-2], self.width
        held = codes.new_full(places[:2], self._placeholder)
        filled = torch.cat([codes[:, : self._start], held, codes[:, self._start :]], dim=1)[:, : codes.shape[1]]
        if self._trims:
            filled = filled[:, : int((filled != self._padding).any(0).nonzero().max()) + 1]
        with _replacing(_Replacement(self._embedding, context.expand(places), self._start)):
            return self._network.encode_text(filled)


def word_codes(tokenizer: open_clip.SimpleTokenizer | open_clip.tokenizer.HFTokenizer, text: str) -> list[int]:
    """Codes of a text's tokens, without start and end, before anything is cut off."""
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return list(tokenizer.encode(text))
    return list(tokenizer.tokenizer(text, add_special_tokens=False)["input_ids"])


def _start_tokens(tokenizer: open_clip.SimpleTokenizer | open_clip.tokenizer.HFTokenizer) -> int:
    """Tokens before the words: 1, or 0 for the few Hugging Face tokenizers that mark only the end."""
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return 1
    marks = {tokenizer.tokenizer.cls_token_id, tokenizer.tokenizer.bos_token_id}
    return int(int(tokenizer([PLACEHOLDER])[0, 0]) in marks)


def _is_causal(tower: nn.Module) -> bool:
    """Whether nothing behind the end token changes the answer. open_clip.CLIP wants its full length all the same."""
    return (
        isinstance(tower, TextTransformer)
        and tower.attn_mask is not None
        and tower.cls_emb is None
        and tower.pool_type in ("argmax", "eos")
    )


@contextmanager
def _replacing(replacement: _Replacement) -> Iterator[None]:
    token = _replacement.set(replacement)
    try:
        yield
    finally:
        _replacement.reset(token)


def _replace(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor | None:
    wanted = _replacement.get()
    if wanted is None or wanted.embedding is not module:
        return None
    end = wanted.start + wanted.context.shape[1]
    return torch.cat([output[:, : wanted.start], wanted.context.to(output.dtype), output[:, end:]], dim=1)


def _fit_mask(
    module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """open_clip's text transformer takes shorter texts, but hands its mask on for the longest."""
    mask, length = named.get("attn_mask"), arguments[0].shape[1]
    if mask is None or mask.shape[-1] <= length:
        return None
    return arguments, {**named, "attn_mask": mask[..., :length, :length]}
