"""Reconstruction by inpainting learned from what a method is built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from anomalabel.config import AnatomyConfig, Saliency
from anomalabel.detectors.context import BuildContext
from anomalabel.detectors.reconstruction import ReconstructionDetector, cuts_of
from anomalabel.finding import ModelIdentity
from anomalabel.reconstruction.error_maps import feature_encoder
from anomalabel.reconstruction.saliency import SaliencySources, saliency_sources
from anomalabel.training.few_shot.fit import Watch
from anomalabel.training.reconstruction.learn import ReconstructionLearned, learn_model
from anomalabel.training.reconstruction.material import HealthyCuts, gather_material, held_out_count
from anomalabel.training.reconstruction.processes import own_device


@dataclass(frozen=True)
class LearnedReconstruction:
    """A model and where it looks.

    Args:
        learned: the model and its thresholds.
        saliency: what marks the region to hide.
        config: as it was learned with; it names the network whose self-attention was really taken.
    """

    learned: ReconstructionLearned
    saliency: SaliencySources
    config: AnatomyConfig


def reads_texts(config: AnatomyConfig) -> bool:
    """Whether the config's saliency asks for texts."""
    return config.reconstruction.saliency in {"plp", "clap"}


def with_saliency(config: AnatomyConfig, kind: Saliency | None) -> AnatomyConfig:
    """The config with another saliency; None keeps its own."""
    if kind is None:
        return config
    settings = config.reconstruction.model_copy(update={"saliency": kind})
    return config.model_copy(update={"reconstruction": settings})


def learn_reconstruction(
    context: BuildContext, watch: Watch, checkpoints: Path | None = None, fingerprint: str = ""
) -> LearnedReconstruction:
    """The U-Net learned from the context's healthy images, with its healthy level and thresholds.

    Args:
        context: its healthy images in the random order in which they were drawn: the last ones are held out.
        watch: told what is done; may raise Cancelled.
        checkpoints: folder to go on from after an interruption, None for none.
        fingerprint: all that decides what is learned, as text, but for whose saliency it is.

    Raises:
        ConfigError: too few healthy images, or settings that do not fit each other.
        ModelError: an encoder cannot be loaded, or the training found no good epoch.
        OutputError: a checkpoint cannot be written.
    """
    config, encoders = context.config, context.encoders
    settings = config.reconstruction
    learnt = len(context.healthy) - held_out_count(len(context.healthy), settings.training.held_out)
    saliency = saliency_sources(settings.saliency, encoders, context.prompts, config, context.seed)
    if saliency.resolved_self_attention is not None:
        resolved = settings.model_copy(update={"self_attention": saliency.resolved_self_attention})
        config = config.model_copy(update={"reconstruction": resolved})
    encode = feature_encoder(encoders.patch_encoder()) if settings.errors.features > 0 else None
    # Held-out volumes are judged on all their slices, as new ones are: the highest slice makes the score.
    sources = [
        partial(_cuts_of_healthy, context, number, settings.slices_a_volume if number < learnt else None)
        for number in range(len(context.healthy))
    ]
    material = gather_material(sources, saliency, config, context.features, watch)
    device = own_device(encoders.device)
    told = "\n".join((fingerprint, *(source.identity.model_dump_json() for source in saliency.encoders)))
    learned = learn_model(material, config, encode, context.seed, device, watch, checkpoints, told)
    warned = replace(learned, warnings=(*learned.warnings, *_about_words(context)))
    return LearnedReconstruction(warned, saliency, config)


def learned_with(kind: Saliency | None) -> Callable[[BuildContext], ReconstructionDetector]:
    """A builder of detectors that learn here and now with a saliency; None takes the config's."""

    def build(context: BuildContext) -> ReconstructionDetector:
        config = with_saliency(context.config, kind)
        own = BuildContext(
            config, context.prompts, context.encoders, context.healthy, context.seed, context.features, context.watch
        )
        found = learn_reconstruction(own, context.watch or (lambda stage, done, total: None))
        return ReconstructionDetector(
            found.learned.model,
            found.saliency,
            found.learned.calibration,
            found.config,
            identity_of(found),
            context.features,
            found.learned.warnings,
        )

    return build


def networks_of(kind: Saliency | None) -> Callable[[BuildContext], tuple[ModelIdentity, ...]]:
    """The networks that a saliency comes from, told before anything is learned; None takes the config's.

    Which one gives the self-attention hangs on whose weights are at hand, so that no setting tells it.
    """

    def identities(context: BuildContext) -> tuple[ModelIdentity, ...]:
        config = with_saliency(context.config, kind)
        saliency = config.reconstruction.saliency
        sources = saliency_sources(saliency, context.encoders, context.prompts, config, context.seed)
        return tuple(source.identity for source in sources.encoders)

    return identities


def identity_of(found: LearnedReconstruction) -> ModelIdentity:
    """Of a model that is in no folder: by what is in it."""
    return ModelIdentity(name="U-Net", weights_sha256=found.learned.model.weights_sha256)


def _about_words(context: BuildContext) -> tuple[str, ...]:
    if not reads_texts(context.config):
        return ()
    model = context.encoders.image_text_model()
    unknown = model.unknown_words((*context.prompts.positive, *context.prompts.negative))
    if not unknown:
        return ()
    told = ", ".join(unknown)
    return (f"The model {model.identity.name} never saw these words, which decide what is hidden: {told}.",)


def _cuts_of_healthy(context: BuildContext, number: int, at_most: int | None) -> HealthyCuts:
    image = context.healthy[number]
    return HealthyCuts(Path(image.source).name, cuts_of(image, at_most))
