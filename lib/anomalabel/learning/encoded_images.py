"""Healthy images as a training reads them: each prepared and encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import AnatomyConfig
from anomalabel.detectors.base import PreparedImage
from anomalabel.detectors.few_shot import shot_of
from anomalabel.io.read import read_volume
from anomalabel.learning.odd_ones import ImageFacts, LevelMeans, image_means, image_vectors
from anomalabel.localization.patch_features import PatchStore
from anomalabel.pipeline import prepare_image
from anomalabel.training.few_shot.fit import Watch
from anomalabel.training.few_shot.shots import Shot


class TrainableEncoders(Protocol):
    """What training needs of backbones.encoders.NamedEncoders."""

    @property
    def name(self) -> str: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...
    def image_text_model(self) -> ImageTextModel: ...
    def patch_encoder(self) -> PatchEncoder: ...


class EncodedImages:
    """Healthy images by their paths, for one config and encoder.

    Args:
        config: how they are prepared.
        encoder: of their patches.
        store: keeps features.
        watch: told what is done.
    """

    def __init__(self, config: AnatomyConfig, encoder: PatchEncoder, store: PatchStore, watch: Watch) -> None:
        self._config, self._encoder, self._store, self._watch = config, encoder, store, watch
        self._prepared: dict[Path, PreparedImage] = {}
        self._facts: dict[Path, ImageFacts] = {}

    def prepared(self, path: Path) -> PreparedImage:
        """The image as the config prepares it; read once.

        Raises:
            ImageReadError: it cannot be read.
        """
        if path not in self._prepared:
            volume = read_volume(path)
            self._prepared[path] = prepare_image(volume, self._config)
            depth, rows, columns = volume.shape
            self._facts[path] = ImageFacts((depth, rows, columns), volume.modality or "")
        return self._prepared[path]

    def shot(self, path: Path) -> Shot:
        """The image as training takes it.

        Raises:
            ImageReadError: it cannot be read.
            ModelError: the encoder answers with NaN or infinity.
        """
        return shot_of(self.prepared(path), self._encoder, self._config, self._store)

    def look(self, paths: Sequence[Path]) -> tuple[NDArray[np.floating], Sequence[ImageFacts]]:
        """What `healthy_set.without_odd_ones` compares: (n, D) vectors and the facts of n images."""
        means: list[LevelMeans] = []
        for number, path in enumerate(paths):
            self._watch("comparing healthy images", number, len(paths))
            means.append(image_means(self.shot(path).patches))
        return image_vectors(means), [self._facts[path] for path in paths]
