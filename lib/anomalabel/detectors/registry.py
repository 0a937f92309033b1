"""All methods in one place: what each needs, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from anomalabel.config import AnatomyConfig, DetectionRequest, Method, Saliency
from anomalabel.detectors.base import Detector
from anomalabel.detectors.clap import ClapDetector
from anomalabel.detectors.context import BuildContext
from anomalabel.detectors.intensity import IntensityDetector
from anomalabel.detectors.learn_few_shot import learned_detector
from anomalabel.detectors.learn_reconstruction import learned_with, networks_of, reads_texts
from anomalabel.detectors.normal_bank import NormalBankDetector
from anomalabel.errors import ConfigError
from anomalabel.finding import ModelIdentity, PromptTexts
from anomalabel.prompts.ontology import Ontology
from anomalabel.prompts.render import render_prompts
from anomalabel.prompts.templates import few_shot_prompts


@dataclass(frozen=True)
class MethodBuilder:
    """A method as the registry knows it.

    Args:
        build: makes the detector.
        needs_healthy: whether it learns from `BuildContext.healthy`, at least one image.
        uses_prompts: whether its answers depend on `BuildContext.prompts`.
        calibrates: whether its detectors are `CalibratedDetector`s, whose own thresholds count.
        networks: tells whose answers the method's hang on besides the encoders', None where there are no others.
    """

    build: Callable[[BuildContext], Detector]
    needs_healthy: bool = False
    uses_prompts: bool = False
    calibrates: bool = False
    networks: Callable[[BuildContext], tuple[ModelIdentity, ...]] | None = None


def texts_of(method: Method, config: AnatomyConfig, request: DetectionRequest | None = None) -> PromptTexts:
    """The texts that a method reads; none for methods without prompts.

    Raises:
        PromptError: see `prompts.render.render_prompts`.
    """
    if not BUILDERS[method].uses_prompts or (method == "reconstruction" and not reads_texts(config)):
        return PromptTexts(positive=(), negative=())
    if method == "few_shot":
        return few_shot_prompts(config, Ontology.installed(), request)
    return render_prompts(config, request)


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
            "Name a folder of healthy images of the same kind with --healthy, or a trained model with --model.",
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


def _reconstruction(kind: Saliency | None, uses_prompts: bool) -> MethodBuilder:
    return MethodBuilder(learned_with(kind), True, uses_prompts, calibrates=True, networks=networks_of(kind))


BUILDERS: Mapping[Method, MethodBuilder] = {
    "clap": MethodBuilder(_build_clap, uses_prompts=True),
    "plp": MethodBuilder(_build_plp, uses_prompts=True),
    "intensity": MethodBuilder(_build_intensity),
    "normal_bank": MethodBuilder(_build_normal_bank, needs_healthy=True),
    "few_shot": MethodBuilder(learned_detector, needs_healthy=True, uses_prompts=True, calibrates=True),
    "reconstruction": _reconstruction(None, uses_prompts=True),
    "reconstruction_none": _reconstruction("none", uses_prompts=False),
    "reconstruction_ear": _reconstruction("ear", uses_prompts=False),
    "reconstruction_plp": _reconstruction("plp", uses_prompts=True),
    "reconstruction_clap": _reconstruction("clap", uses_prompts=True),
}
