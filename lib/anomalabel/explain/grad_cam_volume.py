"""Grad-CAM of every slice of a volume, and its picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.config import PreprocessingSettings
from anomalabel.errors import ImageReadError
from anomalabel.explain.grad_cam import Score, Variant, grad_cam
from anomalabel.explain.overlay import write_overlay
from anomalabel.explain.target_layer import Layer
from anomalabel.finding import FindingsReport, Heatmap, ModelIdentity, PromptTexts, Threshold
from anomalabel.localization.framed_slices import MapCanvas, frame_position
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition
from anomalabel.volume import FloatArray, Matrix, Volume

SLICES_A_PASS = 8
SHOWN_FROM = 0.3
"""Share of the peak from which the picture colours a place."""


@dataclass(frozen=True)
class Explanation:
    """What pulled the score of an image up, and where.

    Args:
        relevance: (Z, Y, X) float32 in [0, 1], NaN where nothing was seen; 1 is the place of the whole volume that
            counts most, 0 one that does not speak for disease. All 0 where no place does.
        score: largest of the slices' scores.
        variant: "grad_cam" or "grad_cam++".
    """

    relevance: FloatArray
    score: float
    variant: Variant


def explain_volume(
    model: ImageTextModel,
    prepared: PreparedVolume,
    affine_ras: Matrix,
    positions: Sequence[SlicePosition],
    preprocessing: PreprocessingSettings,
    score: Score,
    progress: Callable[[int, int], None],
    variant: Variant = "grad_cam",
    layer: Layer | None = None,
) -> Explanation:
    """`grad_cam` of the slices at `positions`, put back on the volume's grid.

    Slices are scaled together: each by itself would give a healthy slice the same peak as a sick one.

    Args:
        progress: called with slices done and slices in all; may raise Cancelled.

    Raises:
        ImageReadError: no slice reaches a voxel that holds body.
        ModelError: see `grad_cam`.
    """
    canvas = MapCanvas(prepared.scaled.shape, affine_ras)
    scores: list[float] = []
    for start in range(0, len(positions), SLICES_A_PASS):
        progress(start, len(positions))
        chosen = positions[start : start + SLICES_A_PASS]
        framed = [frame_position(prepared, affine_ras, position, model.side, preprocessing) for position in chosen]
        images = torch.from_numpy(np.stack([one.image for one in framed]))
        explained = grad_cam(model, images, score, variant, layer)
        scores += explained.scores.tolist()
        for position, one, on_grid in zip(chosen, framed, explained.maps, strict=True):
            canvas.add(position, one.frame.to_source(on_grid))
    progress(len(positions), len(positions))
    relevance = canvas.mean(prepared.seen)
    if not np.isfinite(relevance).any():
        raise ImageReadError("Nothing was seen in the image.", "Turn the foreground mask off in the config.")
    peak = float(np.nanmax(relevance))
    return Explanation(relevance / peak if peak > 0 else relevance, max(scores), variant)


def write_explanation(
    path: Path, volume: Volume, explanation: Explanation, model: ModelIdentity, config: str, prompts: PromptTexts
) -> None:
    """Write a PNG as `write_overlay` does: each plane through the peak, what counts at least `SHOWN_FROM` in colour.

    There are no boxes: what a score rests on is no finding.

    Raises:
        OutputError: the file cannot be written.
    """
    report = FindingsReport(
        image=Path(volume.source).name,
        method=explanation.variant,
        model=model,
        config=config,
        prompts=prompts,
        image_score=explanation.score,
        calibrated=False,
        threshold=Threshold(value=SHOWN_FROM, rule=f"{SHOWN_FROM:g} of the peak"),
        prompt_specificity=None,
        nonfinite_voxels=volume.nonfinite_voxels,
        spacing_known=volume.spacing_known,
        heatmap=Heatmap(
            grid=(volume.shape[2], volume.shape[1], volume.shape[0]),
            min=float(np.nanmin(explanation.relevance)),
            max=float(np.nanmax(explanation.relevance)),
        ),
        findings=(),
    )
    write_overlay(path, volume, explanation.relevance, report)
