"""Settings of reconstruction by inpainting with a U-Net that has seen healthy images only (clap.txt section 2.2)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from anomalabel.config.base import Settings

Saliency = Literal["none", "ear", "plp", "clap"]
"""What marks the region to hide: nothing, self-attention without text, attention for disease texts, or that minus the
attention for health texts."""

ENCODER_BLOCKS = 5
"""Of the U-Net, and as many decoder blocks (clap.txt section 3.1)."""


class Mosaic(Settings):
    """How the suspected region is hidden: by the means of square blocks."""

    blocks: tuple[int, ...] = Field(
        default=(32,), min_length=1, description="sides of a block, pixels of the network's input; maps are averaged"
    )
    threshold_sd: float = Field(default=0.674, description="region = saliency > mean + this many sd (clap.txt eq. 2)")

    @model_validator(mode="after")
    def _distinct(self) -> Mosaic:
        if any(block < 2 for block in self.blocks) or len(set(self.blocks)) < len(self.blocks):
            raise ValueError("blocks must be different numbers from 2")
        return self


class ReconstructionLosses(Settings):
    """Weights of the losses between restored and real image."""

    l2: float = Field(default=10.0, ge=0, description="mean squared difference")
    ssim: float = Field(default=0.0, ge=0, description="1 - structural similarity")
    msgms: float = Field(default=1.0, ge=0, description="mean of eq. 3 over pixels and scales")

    @model_validator(mode="after")
    def _something(self) -> ReconstructionLosses:
        if self.l2 + self.ssim + self.msgms <= 0:
            raise ValueError("at least one weight must be above 0")
        return self


class GradientSimilarity(Settings):
    """MSGMS (clap.txt eq. 3); neither it nor EAR's paper names the number of scales."""

    scales: int = Field(default=4, ge=1, le=8, description="levels of the image pyramid, each half the one before")
    constant: float = Field(default=0.0026, gt=0, description="c of eq. 3, for images in [0, 1]")


class ErrorKinds(Settings):
    """What is compared between an image and its restoration, and how much each counts; 0 turns a kind off."""

    msgms: float = Field(default=1.0, ge=0, description="edges, clap.txt eq. 3 (published)")
    features: float = Field(
        default=0.0, ge=0, description="1 - cosine similarity of the encoder's patch features, beyond the paper"
    )
    cell: int = Field(default=4, ge=1, description="errors are means over squares of this many pixels")

    @model_validator(mode="after")
    def _something(self) -> ErrorKinds:
        if self.msgms + self.features <= 0:
            raise ValueError("at least one kind of error must count")
        return self


class ReconstructionTraining(Settings):
    """How the U-Net learns: published are 20 epochs of 3,000 drawn samples."""

    epochs: int = Field(default=20, ge=1)
    samples: int = Field(default=3000, ge=1, description="drawn in an epoch, each with the same chance")
    batch_size: int = Field(default=16, ge=1, description="of all processes together")
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    held_out: float = Field(
        default=0.2, gt=0, le=0.5, description="share of healthy images for early stop, healthy level and thresholds"
    )
    patience: int = Field(default=5, ge=1, description="epochs without a lower loss on held-out images until it stops")
    augmentation: bool = Field(default=True, description="mirrored and brightened as the config's anatomy allows")


class ReconstructionSettings(Settings):
    """Reconstruction by inpainting (method reconstruction)."""

    saliency: Saliency = "clap"
    self_attention: str = Field(
        default="timm:vit_small_patch16_224.dino",
        description="whose class-token attention is EAR's saliency; embedded where its weights cannot be had",
    )
    side: int = Field(default=128, ge=64, le=1024, multiple_of=32, description="pixels of the network's square input")
    channels: tuple[int, ...] = Field(
        default=(16, 32, 64, 128, 256, 256), description="of the five encoder blocks, and of the bottom"
    )
    mosaic: Mosaic = Field(default_factory=Mosaic)
    losses: ReconstructionLosses = Field(default_factory=ReconstructionLosses)
    similarity: GradientSimilarity = Field(default_factory=GradientSimilarity)
    training: ReconstructionTraining = Field(default_factory=ReconstructionTraining)
    errors: ErrorKinds = Field(default_factory=ErrorKinds)
    healthy_level: bool = Field(
        default=False, description="errors are told in standard deviations of healthy ones at the same place"
    )
    score: Literal["max", "top"] = Field(default="top", description="maximum (published), or the mean of the top share")
    score_share: float = Field(default=0.01, gt=0, le=1, description="of a slice's pixels, for the score top")
    slices_a_volume: int = Field(
        default=32, ge=1, description="learned from, evenly spread; held-out ones are judged on all"
    )
    batch_size: int = Field(default=16, ge=1, description="slices restored together")
    false_positive_rate: float = Field(
        default=0.05, gt=0, lt=1, description="wanted of the image threshold; what can be promised is said"
    )
    pixel_quantile: float = Field(default=0.99, gt=0, lt=1, description="of held-out healthy map values, for findings")

    @model_validator(mode="after")
    def _fitting(self) -> ReconstructionSettings:
        if len(self.channels) != ENCODER_BLOCKS + 1 or any(count < 1 for count in self.channels):
            raise ValueError(
                f"channels must be {ENCODER_BLOCKS + 1} positive numbers: five encoder blocks and the bottom"
            )
        if self.side % self.errors.cell:
            raise ValueError(f"the side {self.side} must be a multiple of the errors' cell of {self.errors.cell}")
        if not self.healthy_level and self.errors.msgms > 0 and self.errors.features > 0:
            raise ValueError("two kinds of error have no common unit without healthy_level")
        if any(self.side % block for block in self.mosaic.blocks):
            raise ValueError(f"the side {self.side} must be a multiple of each mosaic block")
        if self.side >> (self.similarity.scales - 1) < 8:
            raise ValueError(f"a pyramid of {self.similarity.scales} scales leaves fewer than 8 pixels of {self.side}")
        return self
