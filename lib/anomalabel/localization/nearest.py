"""Nearest neighbours found by the processor's bfloat16 matrix units: a quarter of the time of the search in float32.

Only which neighbours are near is decided in bfloat16; the distance to the nearest of a few of them is computed in
float32 from the difference. So no distance is too small, and one is too large only where the true neighbour is none of
the few: then by less than the rounding of bfloat16, a few thousandths.
"""

from __future__ import annotations

import torch
from torch import Tensor

CANDIDATES = 4
"""Neighbours of each query whose distance is computed in float32."""

GROUP = 64
"""Members of the bank whose best score is taken first; looking for the best among all of them one by one takes longer
than the matrix product."""

QUERIES_A_CHUNK = 1024
COLUMNS = 32
"""The units take rows of a multiple of this."""

NEVER = 1e30
"""Half of a squared length that no vector has."""


class HalfPrecisionSearch:
    """Distance to the nearest of the vectors of a bank.

    Vectors are centred before they are rounded, so that what they have in common costs no digits; halves of squared
    lengths are columns beside them, in two parts. The product is then -|q - b|^2 / 2, nearly 0 for what is near, where
    bfloat16 has its small steps.

    Args:
        bank: (B, C) float32, B at least 1.
    """

    def __init__(self, bank: Tensor) -> None:
        self._bank = bank
        self._centre = bank.mean(0)
        rounded, high, low = self._rounded(bank)
        one = torch.ones_like(high)
        rows = self._with_columns(rounded, (-one, -one, -high, -low))
        rest = rows.new_zeros(-len(rows) % GROUP, rows.shape[1])
        # Where queries hold a one.
        rest[:, bank.shape[1] + 2] = -NEVER
        self._rows = torch.cat([rows, rest])

    def distances(self, queries: Tensor) -> Tensor:
        """(Q,) float32, Euclidean, of queries (Q, C) float32."""
        parts = [self._of_chunk(chunk) for chunk in queries.split(QUERIES_A_CHUNK)]
        return torch.cat(parts) if parts else queries.new_empty(0)

    def _of_chunk(self, queries: Tensor) -> Tensor:
        rounded, high, low = self._rounded(queries)
        one = torch.ones_like(high)
        columns = self._with_columns(rounded, (high, low, one, one))
        scores = (self._rows @ columns.T).unflatten(0, (-1, GROUP))
        groups = scores.amax(1).topk(min(CANDIDATES, len(scores)), dim=0).indices
        members = scores.gather(0, groups[:, None].expand(-1, GROUP, -1)).flatten(0, 1)
        best = members.topk(CANDIDATES, dim=0).indices
        chosen = (groups.gather(0, best // GROUP) * GROUP + best % GROUP).clamp_max_(len(self._bank) - 1)
        return torch.linalg.vector_norm(queries - self._bank[chosen], dim=2).amin(0)

    def _rounded(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Centred vectors in bfloat16, and half of their squared length as the sum of two bfloat16 numbers."""
        rounded = (vectors - self._centre).bfloat16()
        half = rounded.float().square().sum(1) / 2
        high = half.bfloat16()
        return rounded, high, (half - high.float()).bfloat16()

    def _with_columns(self, rounded: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
        width = rounded.shape[1] + len(columns)
        rest = rounded.new_zeros(len(rounded), -width % COLUMNS)
        return torch.cat([rounded, torch.stack(columns, dim=1), rest], dim=1)
