"""Visual token refinement (few_shot_localization.txt section 4.3.1, eq. 6).

Attention is spelled out here: its weights are wanted for pictures, and PyTorch's fused kernel is slow backward on a
processor (see backbones.blocks).
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from anomalabel.errors import ConfigError


class TokenRefinement(nn.Module):
    """Learned queries gather from an image's patch tokens; the patches read what was gathered.

    Keys and values of the gathering are the frozen encoder's tokens themselves, the keys brought to one scale by a
    layer norm without weights, so that queries of any level start alike. The second attention ends in a linear layer of
    zeros: an untrained refinement changes nothing.

    Args:
        channels: C of the tokens.
        queries: M, how many things may be gathered.
        heads: of both attentions; a divisor of C.
        generator: draws the first weights; None takes PyTorch's own.

    Raises:
        ConfigError: the heads do not divide the channels.
    """

    def __init__(
        self, channels: int, queries: int = 16, heads: int = 4, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ConfigError(
                f"{heads} attention heads do not divide tokens of {channels} channels.",
                "Choose refinement.heads in the config so that every level of the encoder can be divided by it.",
            )
        self._heads = heads
        self.queries = nn.Parameter(torch.randn(queries, channels, generator=generator))
        self.read_query = nn.Linear(channels, channels, bias=False)
        self.read_key = nn.Linear(channels, channels, bias=False)
        self.output = nn.Linear(channels, channels)
        for layer in (self.read_query, self.read_key):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, tokens: Tensor, seen: Tensor | None = None) -> Tensor:
        """Tokens that know of their whole image.

        Args:
            tokens: (N, P, C) patch tokens.
            seen: (N, P) bool, patches that hold body; None = all. The others neither give nor take anything.

        Returns:
            (N, P, C).
        """
        gathered, _ = self.gather(tokens, seen)
        query = self.read_query(functional.layer_norm(tokens, tokens.shape[-1:]))
        key = self.read_key(functional.layer_norm(gathered, gathered.shape[-1:]))
        weights = attention_weights(_split(query, self._heads), _split(key, self._heads))
        change = self.output(_merge(weights @ _split(gathered, self._heads)))
        return tokens + (change if seen is None else change * seen[..., None])

    def gather(self, tokens: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attention(Q_medical, K_clip, V_clip) of eq. 6.

        Args:
            tokens: (N, P, C).
            seen: (N, P) bool or None.

        Returns:
            z_refined (N, M, C), and the attention (N, M, P), mean of the heads: where each query looks, sum 1 over the
            seen patches. Both are 0 where no patch of an image is seen.
        """
        query = _split(self.queries[None], self._heads)
        key = _split(functional.layer_norm(tokens, tokens.shape[-1:]), self._heads)
        weights = attention_weights(query, key, seen)
        return _merge(weights @ _split(tokens, self._heads)), weights.mean(1)


def attention_weights(query: Tensor, key: Tensor, seen: Tensor | None = None) -> Tensor:
    """Softmax weights (N, heads, Q, T) of queries (N or 1, heads, Q, c) over keys (N, heads, T, c).

    Args:
        seen: (N, T) bool, keys that take part; where none does, all weights are 0.
    """
    scores = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)
    if seen is None:
        return scores.softmax(-1)
    taking_part = seen[:, None, None]
    return scores.masked_fill(~taking_part, torch.finfo(scores.dtype).min).softmax(-1) * taking_part


def _split(tokens: Tensor, heads: int) -> Tensor:
    """(N, T, C) to (N, heads, T, C / heads)."""
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)


def _merge(parts: Tensor) -> Tensor:
    """(N, heads, T, c) to (N, T, heads * c)."""
    return parts.transpose(1, 2).flatten(2)
