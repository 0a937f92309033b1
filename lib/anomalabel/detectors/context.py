"""What methods are built from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import AnatomyConfig
from anomalabel.detectors.base import PreparedImage
from anomalabel.finding import PromptTexts
from anomalabel.localization.patch_features import PatchStore
from anomalabel.training.few_shot.fit import Watch


class Encoders(Protocol):
    """Encoders of one name, loaded when a method asks for them; see backbones.encoders."""

    @property
    def device(self) -> torch.device:
        """Where they run."""
        ...

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
        healthy: the shots, as prepared by `config`, which may be read anew at each access; methods that need none leave
            them alone.
        seed: of everything random in the method.
        features: keeps patch features between builds and images; nothing depends on what it holds but time.
        watch: told what is done while a method learns; may raise to stop. None where nobody watches.
    """

    config: AnatomyConfig
    prompts: PromptTexts
    encoders: Encoders
    healthy: Sequence[PreparedImage] = ()
    seed: int = 0
    features: PatchStore | None = None
    watch: Watch | None = None

    def without(self, number: int) -> BuildContext:
        """The same with the healthy image `number` left out, so that it can be scored as one that was never seen."""
        return replace(self, healthy=tuple(one for place, one in enumerate(self.healthy) if place != number))
