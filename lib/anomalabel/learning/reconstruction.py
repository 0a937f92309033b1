"""Reconstruction by inpainting as a training: from a folder of healthy images to a model folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from anomalabel.config import (
    EMBEDDED,
    AnatomyConfig,
    DetectionRequest,
    Saliency,
    Settings,
    load_config,
)
from anomalabel.detectors.context import BuildContext
from anomalabel.detectors.few_shot import shot_of
from anomalabel.detectors.learn_reconstruction import learn_reconstruction, with_saliency
from anomalabel.detectors.registry import texts_of
from anomalabel.io.read import read_volume
from anomalabel.learning.encoded_images import TrainableEncoders
from anomalabel.learning.healthy_set import HealthySet, every_healthy
from anomalabel.learning.odd_ones import ImageFacts, LevelMeans, image_means, image_vectors
from anomalabel.learning.training_report import TrainingReport, lasting_name, training_report
from anomalabel.localization.patch_features import PatchStore
from anomalabel.localization.stored_features import stored_features
from anomalabel.model_folder import HealthyImage, TrainedModel, check_model_folder, write_model_folder
from anomalabel.model_folder.lock import training_lock
from anomalabel.pipeline import HealthyFiles, prepare_image
from anomalabel.reconstruction.stored import to_tensors
from anomalabel.training.curves import draw_curves
from anomalabel.training.few_shot.fit import Watch
from anomalabel.training.reconstruction.material import FEWEST_IMAGES, held_out_count
from anomalabel.training.reconstruction.processes import Processes
from anomalabel.training.reconstruction.state import remove_checkpoints

NEEDED_BYTES = 1 << 27
"""Model, the one before it, and three times its weights in a checkpoint: 1.8 million numbers of the default shape."""

CHECKPOINTS = "unfinished"
"""Folder of checkpoints in the model's folder."""


class ReconstructionTrainingRequest(Settings):
    """What one training asks for; None keeps the config's value."""

    config: str = "brain_mri"
    backbone: str = EMBEDDED
    saliency: Saliency | None = None
    epochs: int | None = Field(default=None, ge=1)
    samples: int | None = Field(default=None, ge=1, description="drawn in an epoch")
    seed: int = Field(default=0, ge=0, lt=2**32)


@dataclass(frozen=True)
class Chosen:
    """The images of a training, the last ones held out, and those that are not learned from."""

    healthy: HealthySet
    untold: str


def train_reconstruction(
    request: ReconstructionTrainingRequest,
    healthy: Sequence[Path],
    folder: Path,
    encoders: TrainableEncoders,
    watch: Watch,
    abnormal: frozenset[str] = frozenset(),
    store: PatchStore | None = None,
) -> TrainingReport:
    """Learn from all usable healthy images, and put the model into a folder; until it is whole the one before stays.

    An interrupted training leaves checkpoints in the folder; the same request with the same images goes on from there.
    Where torchrun started several processes, each calls this with the same arguments.

    Args:
        request: what is asked for.
        healthy: images.
        folder: of the model.
        encoders: of the request's backbone.
        watch: told what is done; raising Cancelled in it ends the work and leaves the model as it was. It is not asked
            again once the model is being written.
        abnormal: names of images that reviews call abnormal; they are left out and named.
        store: of saliency; None is the user's cache on disk, with memory before it.

    Raises:
        AnomaLabelError: too few usable images, a bad config or model, another training of the same model, no good
            epoch, or a folder that cannot be written.
    """
    processes = Processes.here()
    if not processes.is_first:
        return _train(request, healthy, folder, encoders, watch, abnormal, store, processes)
    check_model_folder(folder, NEEDED_BYTES)
    with training_lock(folder):
        return _train(request, healthy, folder, encoders, watch, abnormal, store, processes)


def _train(
    request: ReconstructionTrainingRequest,
    healthy: Sequence[Path],
    folder: Path,
    encoders: TrainableEncoders,
    watch: Watch,
    abnormal: frozenset[str],
    store: PatchStore | None,
    processes: Processes,
) -> TrainingReport:
    config = requested_config(request)
    held_out_count(len(healthy), config.reconstruction.training.held_out)
    chosen = processes.first_result(lambda: _choose(healthy, request.seed, abnormal, config, encoders, watch))
    texts = texts_of("reconstruction", config, DetectionRequest(config=request.config))
    kept = store or stored_features(encoders)
    files = HealthyFiles(chosen.healthy.chosen, config, lambda done, total: None)
    context = BuildContext(config, texts, encoders, files, request.seed, kept)
    told = (texts.model_dump_json(), *(image.sha256 for image in chosen.healthy.images))
    backbone = encoders.patch_encoder().identity
    fingerprint = "\n".join((config.deciding_json(), backbone.weights_sha256, str(request.seed), *told))
    found = learn_reconstruction(context, watch, folder / CHECKPOINTS, fingerprint)
    learned = found.learned
    model = TrainedModel(
        method="reconstruction",
        config=found.config,
        backbone=backbone,
        encoder=lasting_name(encoders.name),
        prompts=texts,
        healthy=tuple(HealthyImage(name=one.path.name, sha256=one.sha256) for one in chosen.healthy.images),
        seed=request.seed,
        metrics={
            "best_epoch": float(learned.best_epoch),
            **{f"healthy_error_{kind}": mean for kind, mean in learned.held_out_errors.items()},
        },
        thresholds=learned.calibration.thresholds,
        warnings=(*learned.warnings, *([chosen.untold] if chosen.untold else [])),
    )
    if processes.is_first:
        watch("writing the model", 0, 1)
        history = learned.history
        tensors = to_tensors(learned.model, learned.calibration)
        model = write_model_folder(folder, model, tensors, lambda path: draw_curves(history, path, smoothing=0.0))
        remove_checkpoints(folder / CHECKPOINTS)
    return training_report(folder, processes.share(model), chosen.healthy.left_out)


def requested_config(request: ReconstructionTrainingRequest) -> AnatomyConfig:
    """The config with what a request chooses in place of its own values.

    Raises:
        ConfigError: there is no such config.
    """
    config = with_saliency(load_config(request.config), request.saliency)
    chosen = {key: value for key in ("epochs", "samples") if (value := getattr(request, key)) is not None}
    training = config.reconstruction.training.model_copy(update=chosen)
    return config.model_copy(update={"reconstruction": config.reconstruction.model_copy(update={"training": training})})


def _choose(
    healthy: Sequence[Path],
    seed: int,
    abnormal: frozenset[str],
    config: AnatomyConfig,
    encoders: TrainableEncoders,
    watch: Watch,
) -> Chosen:
    """All usable images in a random order that hangs on their content, without those that are unlike the rest."""
    usable = _UsableImages(config, encoders, len(healthy), watch)
    hashing = partial(watch, "hashing images")
    chosen, odd = every_healthy(healthy, FEWEST_IMAGES, seed, abnormal, usable.read, usable.look, hashing)
    return Chosen(chosen, odd.untold)


class _UsableImages:
    """Reads images once each, and keeps of them only what tells odd ones from the others: thousands do not fit into
    memory together."""

    def __init__(self, config: AnatomyConfig, encoders: TrainableEncoders, count: int, watch: Watch) -> None:
        self._config, self._encoder, self._watch = config, encoders.patch_encoder(), watch
        self._asked, self._count = 0, count
        self._means: dict[Path, LevelMeans] = {}
        self._facts: dict[Path, ImageFacts] = {}

    def read(self, path: Path) -> None:
        self._watch("reading healthy images", self._asked, self._count)
        self._asked += 1
        volume = read_volume(path)
        shot = shot_of(prepare_image(volume, self._config), self._encoder, self._config, None)
        depth, rows, columns = volume.shape
        self._means[path] = image_means(shot.patches)
        self._facts[path] = ImageFacts((depth, rows, columns), volume.modality or "")

    def look(self, paths: Sequence[Path]) -> tuple[NDArray[np.floating], Sequence[ImageFacts]]:
        return image_vectors([self._means[path] for path in paths]), [self._facts[path] for path in paths]
