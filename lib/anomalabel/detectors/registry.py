"""All methods in one place: what each needs, and how it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.loading import find_model_folder, find_weights, load_model
from anomalabel.backbones.patch_encoders import PatchEncoder, patch_encoder_of
from anomalabel.backbones.text_adapter import read_text_adapter, with_text_adapter
from anomalabel.config import AnatomyConfig, DetectionRequest, FewShotSettings, Method
from anomalabel.detectors.base import Detector, PreparedImage
from anomalabel.detectors.clap import ClapDetector
from anomalabel.detectors.few_shot import FewShotDetector, shot_of
from anomalabel.detectors.intensity import IntensityDetector
from anomalabel.detectors.normal_bank import NormalBankDetector
from anomalabel.errors import ConfigError, ModelError
from anomalabel.finding import ModelIdentity, PromptTexts
from anomalabel.io.content import file_sha256
from anomalabel.localization.patch_features import PatchStore
from anomalabel.prompts.ontology import Ontology
from anomalabel.prompts.render import render_prompts
from anomalabel.prompts.templates import few_shot_prompts
from anomalabel.training.few_shot.fit import FewShotFit, Watch, fit_few_shot
from anomalabel.training.few_shot.fit_head import TextSource
from anomalabel.training.few_shot.teacher import Teacher


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
    features: PatchStore | None = None

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
        calibrates: whether its detectors are `CalibratedDetector`s, whose own thresholds count.
    """

    build: Callable[[BuildContext], Detector]
    needs_healthy: bool = False
    uses_prompts: bool = False
    calibrates: bool = False


def texts_of(method: Method, config: AnatomyConfig, request: DetectionRequest | None = None) -> PromptTexts:
    """The texts that a method reads; none for methods without prompts.

    Raises:
        PromptError: see `prompts.render.render_prompts`.
    """
    if not BUILDERS[method].uses_prompts:
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


def learn_few_shot(context: BuildContext, watch: Watch) -> FewShotFit:
    """Few-shot localization learned from the context's healthy images.

    Args:
        watch: told what is done; may raise Cancelled.

    Raises:
        ConfigError: fewer than two healthy images, or parts that do not fit the encoder.
        ModelError: an encoder, adapter or start cannot be loaded or does not fit.
    """
    config, encoder = context.config, context.encoders.patch_encoder()
    settings = config.few_shot
    source, teacher = None, None
    if settings.text or settings.learns:
        model = context.encoders.image_text_model()
        source = TextSource(adapted_model(model, settings), context.prompts)
        teacher = _teacher(context.prompts, config, model.device) if settings.distillation.enabled else None
    shots = []
    for number, image in enumerate(context.healthy):
        watch("encoding healthy images", number, len(context.healthy))
        shots.append(shot_of(image, encoder, config, context.features))
    return fit_few_shot(shots, encoder, source, config, context.seed, watch, context.features, teacher)


def learned_before(method: Method, settings: FewShotSettings) -> dict[str, str]:
    """Hashes of the files that the settings name and whose content decides what a method says.

    Raises:
        ModelError: one is not there.
    """
    if method != "few_shot":
        return {}
    adapter, start = settings.language_adapter.path, settings.episodes.path
    files = {
        name: Path(path) for name, path in (("language_adapter", adapter), ("episodes", start)) if path is not None
    }
    if settings.distillation.enabled and settings.distillation.teacher is not None:
        files["teacher"] = find_weights(find_model_folder(settings.distillation.teacher))
    for name, path in files.items():
        if not path.is_file():
            raise ModelError(f"The config names {path} in few_shot.{name}; there is no such file.", "Correct the path.")
    return {name: file_sha256(path) for name, path in files.items()}


def adapted_model(model: ImageTextModel, settings: FewShotSettings) -> ImageTextModel:
    """The image-text model behind the language adapter that the settings name, if they name one."""
    path = settings.language_adapter.path
    if path is None:
        return model
    return with_text_adapter(model, read_text_adapter(Path(path), model.identity))


def _teacher(prompts: PromptTexts, config: AnatomyConfig, device: torch.device) -> Teacher:
    name = config.few_shot.distillation.teacher
    if name is None:
        raise ConfigError("Distillation names no teacher.", "Set few_shot.distillation.teacher in the config.")
    model = load_model(name, str(device))
    return Teacher(patch_encoder_of(model), TextSource(model, prompts).plain())


def _build_few_shot(context: BuildContext) -> Detector:
    fit = learn_few_shot(context, lambda stage, done, total: None)
    encoder = context.encoders.patch_encoder()
    identity = ModelIdentity(
        name=f"few_shot on {encoder.identity.name}", weights_sha256=encoder.identity.weights_sha256
    )
    return FewShotDetector(
        encoder, fit.model, fit.calibration, context.config, identity, context.seed, context.features, fit.warnings
    )


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
    "few_shot": MethodBuilder(_build_few_shot, needs_healthy=True, uses_prompts=True, calibrates=True),
}
