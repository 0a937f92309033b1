"""How the embedded model is trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from anomalabel.backbones.hybrid import HybridSettings
from anomalabel.training.alignment import LossWeights


@dataclass(frozen=True)
class EmbeddedTraining:
    """How the embedded model is trained.

    Args:
        distil_steps: of `batch` images; none are taken without a teacher.
        distil_side: pixels along the pictures of that phase; convolutions learned on small ones serve large ones.
        text_steps: in which the text tower alone learns which wordings mean the same, so that images meet a space that
            already has a shape.
        align_steps: of images and texts together.
        texture_share: share of pictures made of chance, not of patients, in the first phase.
        frozen: parts of the trunk that stay as distilled in the last phase; they see every pixel and cost the most.
        trunk_rate: learning rate of the rest of the trunk in the last phase, relative to the others'.
    """

    distil_steps: int = 4400
    text_steps: int = 900
    align_steps: int = 1400
    batch: int = 32
    text_batch: int = 128
    distil_side: int = 160
    textures: int = 1500
    texture_share: float = 0.4
    distil_rate: float = 2e-3
    text_rate: float = 1e-3
    align_rate: float = 6e-4
    trunk_rate: float = 0.2
    frozen: tuple[str, ...] = ("conv1", "bn1", "layer1")
    weight_decay: float = 0.03
    merges: int = 1500
    seed: int = 0
    image: HybridSettings = field(default_factory=HybridSettings)
    text_width: int = 192
    text_layers: int = 3
    weights: LossWeights = field(default_factory=LossWeights)
