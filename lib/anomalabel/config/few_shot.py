"""Settings of few-shot localization (few_shot_localization.txt section 4): each part of the paper is a switch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from anomalabel.config.base import Settings

LARGEST_DISPLACEMENT = 0.35
"""Of an elastic deformation, in multiples of its smoothness: with more, places change their order and tissue folds."""


class ElasticDeformation(Settings):
    """A smooth random displacement of the image (section 4.1.3)."""

    displacement: float = Field(default=0.02, gt=0, le=0.2, description="standard deviation, share of the image's side")
    smoothness: float = Field(default=0.1, gt=0, le=0.5, description="of the field: Gaussian sd, share of the side")

    @model_validator(mode="after")
    def _unfolded(self) -> ElasticDeformation:
        most = LARGEST_DISPLACEMENT * self.smoothness
        if self.displacement > most * (1 + 1e-9):
            raise ValueError(
                f"a displacement of {self.displacement:g} folds tissue over itself; "
                f"with a smoothness of {self.smoothness:g} at most {most:g}"
            )
        return self


class AugmentationSettings(Settings):
    """How healthy images may be changed and still be healthy images of this anatomy and modality (section 4.1.3).

    Mirroring and turning are off unless a config allows them: a mirrored chest has its heart on the wrong side.
    """

    mirror_left_right: bool = False
    mirror_up_down: bool = False
    rotation_degrees: float = Field(default=0.0, ge=0, le=180, description="largest, to either side")
    intensity_jitter: float = Field(default=0.1, ge=0, lt=1, description="factor 1 +- this, exponent 2^(+- this)")
    elastic: ElasticDeformation | None = None


class TaskShares(Settings):
    """How often each way of making an anomaly is drawn (section 5.1); the sum is scaled to 1."""

    cutpaste: float = Field(default=0.25, ge=0)
    gaussian_intensity: float = Field(default=0.25, ge=0)
    source_deformation: float = Field(default=0.25, ge=0)
    identity: float = Field(default=0.25, ge=0)

    @model_validator(mode="after")
    def _something(self) -> TaskShares:
        if self.cutpaste + self.gaussian_intensity + self.source_deformation + self.identity <= 0:
            raise ValueError("at least one share must be above 0")
        return self


class LearnablePrompts(Settings):
    """Context tokens before the words of each class, learned (section 4.2.2, eq. 4 and 5)."""

    enabled: bool = False
    tokens: int = Field(default=8, ge=1, le=64, description="L of eq. 4")


class LanguageAdapterSettings(Settings):
    """The residual adapter on the text tower (section 4.3.2); off unless one was trained."""

    path: str | None = Field(default=None, description="file that `anomalabel train language-adapter` wrote")


class TokenRefinement(Settings):
    """Learned queries gather from the patch tokens, and the patches read what was gathered (section 4.3.1, eq. 6)."""

    enabled: bool = False
    queries: int = Field(default=16, ge=1, le=256)
    heads: int = Field(default=4, ge=1)


class SimClr(Settings):
    """Contrastive auxiliary loss between augmented views of a shot (section 4.6.2, eq. 12)."""

    enabled: bool = False
    weight: float = Field(default=0.1, gt=0)
    temperature: float = Field(default=0.2, gt=0)


class Distillation(Settings):
    """A larger image-text model teaches the head on the views of the shots (section 4.6.3, eq. 13)."""

    enabled: bool = False
    teacher: str | None = Field(default=None, description="name or folder of an image-text model, say biomedclip")
    alpha: float = Field(default=0.5, ge=0, le=1, description="of eq. 13: weight of the labels beside the teacher")
    temperature: float = Field(default=2.0, gt=0, description="T of eq. 13")

    @model_validator(mode="after")
    def _has_teacher(self) -> Distillation:
        if self.enabled and self.teacher is None:
            raise ValueError("distillation is enabled but names no teacher")
        return self


class EpisodeSettings(Settings):
    """First-step learning on many small tasks before the shots are seen (section 4.6.1, eq. 11)."""

    path: str | None = Field(default=None, description="file that `anomalabel train episodes` wrote; null starts anew")
    steps: int = Field(default=10, ge=1, description="of adaptation from that start, instead of the epochs")


class Suppression(Settings):
    """Removes specks from the map without moving its peaks (section 4.5.3)."""

    enabled: bool = False
    minimum_area: float = Field(default=0.012, gt=0, lt=1, description="smaller islands go; share of the slice's body")


class Uncertainty(Settings):
    """Monte Carlo dropout after the frozen encoder (section 4.5.1, eq. 10)."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    softness: float = Field(
        default=0.5, gt=0, description="of the bounded score, standard deviations of healthy patches"
    )
    passes: int = Field(default=10, ge=0, le=1000, description="T of eq. 10; 0 gives no uncertainty map")


class Training(Settings):
    """How the head learns from the views of the shots."""

    epochs: int = Field(default=200, ge=1)
    batch_size: int = Field(default=32, ge=1, description="views a step; an epoch shows one view of each shot")
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    views: int = Field(default=8, ge=1, description="of each shot, made and encoded once")


class MapWeights(Settings):
    """How much each kind of map counts after each was standardised on held-out healthy images."""

    bank: float = Field(default=1.0, ge=0)
    text: float = Field(default=0.5, ge=0)
    head: float = Field(default=0.5, ge=0)


class FewShotSettings(Settings):
    """Few-shot localization: from 4 to 32 healthy images to calibrated heatmaps (method few_shot)."""

    bank: bool = Field(default=True, description="distance to the nearest healthy patch, beyond the paper")
    bank_patches: int = Field(default=8_192, ge=1, description="a seeded sample of more healthy patches is kept")
    text: bool = Field(default=True, description="similarity of patches to texts for health and disease (eq. 7 to 9)")
    text_score: Literal["max", "softmax"] = Field(default="max", description="eq. 9, or its softmax variant")
    standard_templates: bool = Field(default=True, description="the method's own templates join the config's texts")
    temperature: float = Field(default=0.1, gt=0, description="tau of eq. 8 and of the softmax variant")
    alignment: bool = Field(default=True, description="adapters learn from planted anomalies, patch by patch (eq. 8)")
    weights: MapWeights = Field(default_factory=MapWeights)
    augmentation: bool = Field(default=True, description="views are augmented as the config's anatomy allows")
    tasks: TaskShares = Field(default_factory=TaskShares)
    prompts: LearnablePrompts = Field(default_factory=LearnablePrompts)
    language_adapter: LanguageAdapterSettings = Field(default_factory=LanguageAdapterSettings)
    refinement: TokenRefinement = Field(default_factory=TokenRefinement)
    scales: tuple[int, ...] = Field(
        default=(1,), min_length=1, description="maps are averaged over neighbourhoods of these many patches squared"
    )
    simclr: SimClr = Field(default_factory=SimClr)
    distillation: Distillation = Field(default_factory=Distillation)
    episodes: EpisodeSettings = Field(default_factory=EpisodeSettings)
    suppression: Suppression = Field(default_factory=Suppression)
    uncertainty: Uncertainty = Field(default_factory=Uncertainty)
    training: Training = Field(default_factory=Training)
    heads: int = Field(
        default=2, ge=2, le=8, description="each learns without its part of the shots and is judged on it"
    )
    false_positive_rate: float = Field(
        default=0.05, gt=0, lt=1, description="wanted of the image threshold; what can be promised is said"
    )
    pixel_quantile: float = Field(default=0.99, gt=0, lt=1, description="of held-out healthy map values, for findings")

    @property
    def learns(self) -> bool:
        """Whether anything is learned from planted anomalies."""
        return self.alignment or self.prompts.enabled or self.refinement.enabled

    @model_validator(mode="after")
    def _sensible(self) -> FewShotSettings:
        if not self.learns and (self.simclr.enabled or self.distillation.enabled):
            raise ValueError("simclr and distillation help what learns: turn on alignment, prompts or refinement")
        if self.simclr.enabled and self.tasks.identity == 0:
            raise ValueError("simclr compares healthy views: give tasks.identity a share")
        if self.episodes.path is not None and (
            self.prompts.enabled or self.simclr.enabled or self.distillation.enabled
        ):
            raise ValueError("a start from episodes replaces the epochs: turn prompts, simclr and distillation off")
        if not (self.bank or self.text or self.learns):
            raise ValueError("bank, text and everything that learns are off: nothing is left to score with")
        if any(scale < 1 or scale % 2 == 0 for scale in self.scales) or len(set(self.scales)) < len(self.scales):
            raise ValueError("scales must be odd numbers from 1, each once")
        return self
