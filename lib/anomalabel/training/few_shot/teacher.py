"""What a larger image-text model says of the patches of views (few_shot_localization.txt section 4.6.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import AugmentationSettings, FewShotSettings
from anomalabel.errors import ModelError
from anomalabel.localization.few_shot.grid import grid_features, on_common_grid
from anomalabel.localization.few_shot.model import ClassTexts
from anomalabel.localization.patch_features import encode_framed
from anomalabel.localization.similarity import abnormal_logit
from anomalabel.training.few_shot.shots import Shot, make_views


@dataclass(frozen=True)
class Teacher:
    """A frozen teacher.

    Args:
        encoder: of patch features, one level of them in its texts' space.
        texts: the same words in its own text tower.
    """

    encoder: PatchEncoder
    texts: ClassTexts

    def logits(self, shot: Shot, settings: FewShotSettings, augmentation: AugmentationSettings, seed: int) -> Tensor:
        """(V + S, P, 2) logits for healthy and diseased of a shot's views and slices, on the student's grid
        and device.

        Raises:
            ModelError: the teacher's patches are in no text's space, or its input has another size.
        """
        level = self.encoder.text_level
        if level is None or self.encoder.side != shot.framed[0].image.shape[0]:
            raise ModelError(
                f"{self.encoder.identity.name} cannot teach here: its patches are in no text's space, or its input is "
                f"not {shot.framed[0].image.shape[0]} pixels wide.",
                "Choose another teacher in few_shot.distillation.",
            )
        own = tuple(on_common_grid(one) for one in encode_framed(self.encoder, shot.framed))
        views = make_views(Shot(shot.framed, own), self.encoder, settings, augmentation, seed)
        features = grid_features((*views.patches, *own))
        logit = abnormal_logit(
            features.levels[level], self.texts.healthy, self.texts.diseased, settings.temperature
        ).unflatten(1, features.grid)
        rows, columns = shot.patches[0].seen.shape
        there = functional.interpolate(logit[:, None], size=(rows, columns), mode="bilinear", align_corners=False)
        flat = there[:, 0].flatten(1).to(shot.patches[0].levels[0].device)
        return torch.stack([torch.zeros_like(flat), flat], dim=-1)
