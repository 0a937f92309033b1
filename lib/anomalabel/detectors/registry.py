"""All methods in one place: what each needs, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import AnatomyConfig, Method
from anomalabel.detectors.base import Detector, PreparedImage
from anomalabel.detectors.clap import ClapDetector
from anomalabel.detectors.intensity import IntensityDetector
from anomalabel.detectors.normal_bank import NormalBankDetector
from anomalabel.errors import ConfigError
from anomalabel.finding import PromptTexts
from anomalabel.localization.patch_features import FeatureStore


class Encoders(Protocol):
    """Encoders of one name, loaded when a method asks for them; see backbones.encoders."""

    def image_text_model(self) -> ImageTextModel:
        """The image-text model.

        Raises:
            ModelError: it cannot be loaded, or the name stands for an encoder without text.
        """
        ...

    def patch_encoder(self) -> PatchEncoder:
        """The patch encoder.

        Raises:
            ModelError: it cannot be loaded.
        """
        ...


@dataclass(frozen=True)
class BuildContext:
    """What a method may be built from.

    Args:
        config: of the anatomy and modality.
        prompts: texts for and against the disease; empty for methods without prompts.
        encoders: whose weights; loaded only when a method asks.
        healthy: the shots, as prepared by `config`; methods that need none leave them alone.
        seed: of everything random in the method.
        features: keeps patch features between builds and images; nothing depends on what it holds but time.
    """

    config: AnatomyConfig
    prompts: PromptTexts
    encoders: Encoders
    healthy: tuple[PreparedImage, ...] = ()
    seed: int = 0
    features: FeatureStore | None = None

    def without(self, number: int) -> BuildContext:
        """The same with the healthy image `number` left out, so that it can be scored as one that was never seen."""
        return replace(self, healthy=self.healthy[:number] + self.healthy[number + 1 :])


@dataclass(frozen=True)
class MethodBuilder:
    """A method as the registry knows it.

    Args:
        build: makes the detector.
        needs_healthy: whether it learns from `BuildContext.healthy`, at least one image.
        uses_prompts: whether its answers depend on `BuildContext.prompts`.
    """

    build: Callable[[BuildContext], Detector]
    needs_healthy: bool = False
    uses_prompts: bool = False


def build_detector(method: Method, context: BuildContext) -> Detector:
    """The detector of a method.

    Raises:
        ConfigError: the method learns from healthy images and none came.
        ModelError: an encoder cannot be loaded or does not fit the method.
        PromptError: a prompt is too long for the model.
    """
    builder = BUILDERS[method]
    if builder.needs_healthy and not context.healthy:
        raise ConfigError(
            f"The method {method} learns from healthy images and none was given.",
            "Name a folder of healthy images of the same kind with --healthy.",
        )
    return builder.build(context)


def _build_clap(context: BuildContext) -> Detector:
    model = context.encoders.image_text_model()
    return ClapDetector(model, context.prompts, context.config, "clap", context.seed)


def _build_plp(context: BuildContext) -> Detector:
    model = context.encoders.image_text_model()
    return ClapDetector(model, context.prompts, context.config, "plp", context.seed)


def _build_intensity(context: BuildContext) -> Detector:
    return IntensityDetector(context.config.preprocessing)


def _build_normal_bank(context: BuildContext) -> Detector:
    encoder = context.encoders.patch_encoder()
    return NormalBankDetector(encoder, context.healthy, context.config, context.seed, context.features)


BUILDERS: Mapping[Method, MethodBuilder] = {
    "clap": MethodBuilder(_build_clap, uses_prompts=True),
    "plp": MethodBuilder(_build_plp, uses_prompts=True),
    "intensity": MethodBuilder(_build_intensity),
    "normal_bank": MethodBuilder(_build_normal_bank, needs_healthy=True),
}
