"""Few-shot localization learned from what a method is built from."""

from __future__ import annotations

from pathlib import Path

import torch

from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.loading import find_model_folder, find_weights, load_model
from anomalabel.backbones.patch_encoders import patch_encoder_of
from anomalabel.backbones.text_adapter import read_text_adapter, with_text_adapter
from anomalabel.config import AnatomyConfig, FewShotSettings, Method
from anomalabel.detectors.context import BuildContext
from anomalabel.detectors.few_shot import FewShotDetector, shot_of
from anomalabel.errors import ConfigError, ModelError
from anomalabel.finding import ModelIdentity, PromptTexts
from anomalabel.io.content import file_sha256
from anomalabel.training.few_shot.fit import FewShotFit, Watch, fit_few_shot
from anomalabel.training.few_shot.fit_head import TextSource
from anomalabel.training.few_shot.teacher import Teacher


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


def learned_detector(context: BuildContext) -> FewShotDetector:
    """The detector of what is learned here and now; raises as `learn_few_shot`."""
    fit = learn_few_shot(context, context.watch or (lambda stage, done, total: None))
    encoder = context.encoders.patch_encoder()
    identity = ModelIdentity(
        name=f"few_shot on {encoder.identity.name}", weights_sha256=encoder.identity.weights_sha256
    )
    return FewShotDetector(
        encoder, fit.model, fit.calibration, context.config, identity, context.seed, context.features, fit.warnings
    )


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
