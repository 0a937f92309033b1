"""Settings of CLAP attention."""

from __future__ import annotations

from pydantic import Field, model_validator

from anomalabel.config.base import Settings


class Bottleneck(Settings):
    """Where the bottleneck lies in an image encoder, and how strongly it compresses."""

    layer: int = Field(default=7, ge=0, description="the bottleneck follows this block, counted from 0")
    beta: float = Field(default=0.1, gt=0)


class AttentionSettings(Bottleneck):
    """M2IB constants (clap.txt eq. 1) and how many noise samples estimate its expectation."""

    models: dict[str, Bottleneck] = Field(
        default={"embedded": Bottleneck(layer=0, beta=0.2)},
        description="for models of these names, instead of layer and beta: the constants belong to a network",
    )
    steps: int = Field(default=10, ge=1)
    learning_rate: float = Field(default=1.0, gt=0)
    initial_alpha: float = 5.0
    samples: int = Field(default=2, ge=1, description="noise samples a step; even numbers when antithetic")
    antithetic: bool = Field(default=True, description="pair each noise sample with its negative")
    batch_size: int = Field(default=8, ge=1, description="slices optimised together")
    specificity_bound: float = Field(
        default=0.2, ge=0, le=2, description="below this mean (1 - rank correlation) the result carries a warning"
    )

    @model_validator(mode="after")
    def _paired(self) -> AttentionSettings:
        if self.antithetic and self.samples % 2:
            raise ValueError("antithetic noise needs an even number of samples")
        return self

    def for_model(self, name: str) -> AttentionSettings:
        """These settings with the layer and beta of the model called `name`."""
        own = self.models.get(name)
        return self if own is None else self.model_copy(update=own.model_dump())
