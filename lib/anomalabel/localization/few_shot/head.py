"""What learns in few-shot localization: adapters and refinement between the frozen encoder and the texts.

few_shot_localization.txt sections 4.3.1 and 4.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anomalabel.backbones.refinement import TokenRefinement
from anomalabel.config import FewShotSettings
from anomalabel.errors import ConfigError
from anomalabel.localization.few_shot.grid import GridFeatures
from anomalabel.localization.similarity import abnormal_logit, class_vector

SMALLEST_DEVIATION = 1e-6


@dataclass(frozen=True)
class HeadShape:
    """What a head fits: two heads of equal shape can exchange their weights.

    Args:
        channels: C_l of each level.
        text_level: which level lives in the texts' space; None where none does.
        embedding: D, length of text vectors.
        adapters: whether levels are adapted; otherwise only the text level is compared with texts.
        queries, heads: of the refinement; 0 queries for none.
    """

    channels: tuple[int, ...]
    text_level: int | None
    embedding: int
    adapters: bool
    queries: int
    heads: int

    @classmethod
    def of(
        cls, channels: tuple[int, ...], text_level: int | None, embedding: int, settings: FewShotSettings
    ) -> HeadShape:
        """The shape that a config asks for.

        Raises:
            ConfigError: without adapters no level can be compared with texts.
        """
        if text_level is None and not settings.alignment:
            raise ConfigError(
                "No level of this encoder lives in the texts' space, and the adapters are off.",
                "Turn few_shot.alignment on, or choose another encoder.",
            )
        refinement = settings.refinement
        queries = refinement.queries if refinement.enabled else 0
        return cls(channels, text_level, embedding, settings.alignment, queries, refinement.heads)


class FewShotHead(nn.Module):
    """Linear adapter per level into the texts' space, then token refinement, then similarity to texts.

    The level that lives in the texts' space already gets a residual adapter that starts as none, so that an untrained
    head says of it what the encoder says.

    Args:
        shape: of everything.
        generator: draws the first weights.
    """

    def __init__(self, shape: HeadShape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.adapters = nn.ModuleDict()
        for number, channels in enumerate(shape.channels if shape.adapters else ()):
            adapter = nn.Linear(channels, shape.embedding, bias=False)
            if number == shape.text_level:
                nn.init.zeros_(adapter.weight)
            else:
                nn.init.kaiming_uniform_(adapter.weight, a=5**0.5, generator=generator)
            self.adapters[str(number)] = adapter
        self.refinement = (
            TokenRefinement(shape.embedding, shape.queries, shape.heads, generator) if shape.queries else None
        )
        for number, channels in enumerate(shape.channels):
            self.register_buffer(f"mean_{number}", torch.zeros(channels))
            self.register_buffer(f"deviation_{number}", torch.ones(()))

    @property
    def used_levels(self) -> tuple[int, ...]:
        """Numbers of the levels that are compared with texts."""
        if self.shape.adapters:
            return tuple(range(len(self.shape.channels)))
        return () if self.shape.text_level is None else (self.shape.text_level,)

    def measure(self, features: GridFeatures) -> None:
        """Take mean and deviation of each level from healthy slices; the texts' level keeps its directions."""
        for number, level in enumerate(features.levels):
            patches = level[features.seen]
            if number != self.shape.text_level:
                getattr(self, f"mean_{number}").copy_(patches.mean(0))
                centred = patches - patches.mean(0)
                getattr(self, f"deviation_{number}").copy_(centred.square().mean().sqrt().clamp_min(SMALLEST_DEVIATION))

    def scaled(self, features: GridFeatures) -> tuple[Tensor, ...]:
        """The used levels (N, P, C_l) as the adapters take them; dropout acts on these."""
        return tuple(
            (features.levels[number] - getattr(self, f"mean_{number}")) / getattr(self, f"deviation_{number}")
            for number in self.used_levels
        )

    def vectors(self, scaled: Sequence[Tensor], seen: Tensor) -> tuple[Tensor, ...]:
        """Patches of each used level in the texts' space, (N, P, D), not of unit length.

        Args:
            scaled: of `scaled`.
            seen: (N, P) bool.
        """
        vectors = []
        for number, level in zip(self.used_levels, scaled, strict=True):
            vector = self.adapters[str(number)](level) if self.shape.adapters else torch.zeros_like(level)
            if number == self.shape.text_level:
                vector = vector + level
            vectors.append(vector if self.refinement is None else self.refinement(vector, seen))
        return tuple(vectors)

    def logit(
        self, scaled: Sequence[Tensor], seen: Tensor, healthy: Tensor, diseased: Tensor, temperature: float
    ) -> Tensor:
        """How much nearer each patch is to disease than to health, mean over the levels: (N, P) logits.

        Args:
            scaled, seen: as in `vectors`.
            healthy, diseased: (H, D) and (T, D) texts.
            temperature: tau of eq. 8.
        """
        # One vector for each class, here and not for each level anew.
        of_health, of_disease = class_vector(healthy)[None], class_vector(diseased)[None]
        each = [abnormal_logit(one, of_health, of_disease, temperature) for one in self.vectors(scaled, seen)]
        return torch.stack(each).mean(0)

    def forward(
        self, scaled: Sequence[Tensor], seen: Tensor, healthy: Tensor, diseased: Tensor, temperature: float
    ) -> Tensor:
        """`logit`, for torch.func."""
        return self.logit(scaled, seen, healthy, diseased, temperature)
