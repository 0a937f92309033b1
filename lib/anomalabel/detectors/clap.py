"""CLAP and PLP: where the attention for disease texts exceeds that for health texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from anomalabel.attention.clap import scale_to_unit
from anomalabel.attention.specificity import CONTROL_TEXTS, prompt_specificity
from anomalabel.attention.text_attention import mean_text_vectors, text_attention
from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.config import AnatomyConfig, Method
from anomalabel.detectors.base import Detection, Progress, evenly_spread
from anomalabel.finding import ModelIdentity, PromptTexts
from anomalabel.localization.framed_slices import MapCanvas, frame_position
from anomalabel.preprocessing.framing import SquareFrame
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition
from anomalabel.volume import FloatArray, Matrix

SPECIFICITY_SLICES = 4
"""Slices of a volume, evenly spread, on which prompt specificity is measured."""


@dataclass(frozen=True)
class _PlacedSlice:
    """Where one slice belongs, how it sits in the model's input, and which of its patches hold body."""

    position: SlicePosition
    frame: SquareFrame
    seen_patches: NDArray[np.bool_]


@dataclass(frozen=True)
class _SliceAttention:
    """Raw attention of one slice, (prompts, rows, columns) on the patch grid, and what else was measured on it.

    A volume's worth of these is kept, so they hold no pixels.
    """

    framed: _PlacedSlice
    maps: FloatArray
    probability: float
    specificity: float | None


class ClapDetector:
    """CLAP: attention for the disease texts minus attention for the health texts (clap.txt section 2.1).

    Each of the two is scaled to [0, 1] before the subtraction, over everything that was seen: a picture by itself, a
    volume as a whole, since scaling each slice alone would give a healthy slice the same peak as a sick one.

    Args:
        model: frozen image-text model.
        prompts: texts for and against the disease; a side's vector is the mean of its texts' vectors.
        config: preprocessing of slices and attention constants.
        method: "clap", or "plp" for the disease texts alone, in the map and in the image score.
        seed: of the bottleneck's noise.

    Raises:
        PromptError: a text is longer than the model reads.
    """

    def __init__(
        self, model: ImageTextModel, prompts: PromptTexts, config: AnatomyConfig, method: Method, seed: int
    ) -> None:
        self._model = model
        self._preprocessing = config.preprocessing
        self._attention = config.attention.for_model(model.identity.name)
        self._seed = seed
        self._texts = mean_text_vectors(model, (prompts.positive, prompts.negative))
        self._mapped = self._texts if method == "clap" else self._texts[:1]
        self._controls = model.encode_texts(CONTROL_TEXTS)

    @property
    def identity(self) -> ModelIdentity:
        return self._model.identity

    def detect(
        self, prepared: PreparedVolume, affine_ras: Matrix, positions: Sequence[SlicePosition], progress: Progress
    ) -> Detection:
        """See `Detector.detect`. Memory beyond the volume's does not grow with the number of slices."""
        attended = list(self._attend(prepared, affine_ras, positions, progress))
        ranges = self._ranges(attended)
        canvas = MapCanvas(prepared.scaled.shape, affine_ras)
        for slice_attention in attended:
            canvas.add(slice_attention.framed.position, self._on_slice(slice_attention, ranges))
        return Detection(
            anomaly_map=canvas.mean(prepared.seen),
            image_score=max(slice_attention.probability for slice_attention in attended),
            prompt_specificity=float(np.mean([one.specificity for one in attended if one.specificity is not None])),
        )

    def _attend(
        self, prepared: PreparedVolume, affine_ras: Matrix, positions: Sequence[SlicePosition], progress: Progress
    ) -> Iterator[_SliceAttention]:
        size = self._attention.batch_size
        measured = evenly_spread(len(positions), SPECIFICITY_SLICES)
        for start in range(0, len(positions), size):
            progress(start, len(positions))
            chosen = positions[start : start + size]
            framed, pixels = zip(*(self._frame(prepared, affine_ras, position) for position in chosen), strict=True)
            images = torch.from_numpy(np.stack(pixels))
            maps = self._maps(images, self._mapped)
            specificity = self._specificity(framed, images, maps, [index - start for index in measured])
            for number, probability in enumerate(self._probabilities(images)):
                yield _SliceAttention(framed[number], maps[number], probability, specificity.get(number))
        progress(len(positions), len(positions))

    def _frame(
        self, prepared: PreparedVolume, affine_ras: Matrix, position: SlicePosition
    ) -> tuple[_PlacedSlice, FloatArray]:
        framed = frame_position(prepared, affine_ras, position, self._model.side, self._preprocessing)
        return _PlacedSlice(position, framed.frame, framed.seen_patches(self._model.tower.grid)), framed.image

    def _maps(self, images: Tensor, texts: Tensor) -> FloatArray:
        """(N, texts, rows, columns) of images (N, side, side)."""
        maps = text_attention(self._model, images, texts, self._attention, self._seed)
        return maps.transpose(0, 1).float().cpu().numpy()

    def _probabilities(self, images: Tensor) -> list[float]:
        """Of clap, the disease texts' softmax against the health texts'; of plp, the disease texts' sigmoid alone."""
        tower = self._model.tower
        with torch.inference_mode():
            last = tower.depth - 1
            vectors = tower.embed_from(tower.tokens_after(self._model.normalise(images), last), last).float()
            logits = self._model.logit_scale * functional.normalize(vectors, dim=-1) @ self._mapped.T
            return (logits.softmax(-1) if len(self._mapped) == 2 else logits.sigmoid())[:, 0].tolist()

    def _ranges(self, attended: Sequence[_SliceAttention]) -> list[tuple[float, float]]:
        """Lowest and highest attention of each prompt over all seen patches."""
        values = np.concatenate([one.maps[:, one.framed.seen_patches] for one in attended], axis=1)
        return [(float(row.min()), float(row.max())) for row in values]

    def _on_slice(self, slice_attention: _SliceAttention, ranges: Sequence[tuple[float, float]]) -> FloatArray:
        scaled = [scale_to_unit(part, *bounds) for part, bounds in zip(slice_attention.maps, ranges, strict=True)]
        difference = scaled[0] - scaled[1] if len(scaled) == 2 else scaled[0]
        return slice_attention.framed.frame.to_source(difference)

    def _specificity(
        self, framed: Sequence[_PlacedSlice], images: Tensor, maps: FloatArray, wanted: Sequence[int]
    ) -> dict[int, float]:
        """Prompt specificity of the wanted slices of a batch, by their number in it; numbers outside it are ignored."""
        numbers = [number for number in wanted if 0 <= number < len(framed)]
        if not numbers:
            return {}
        values = {}
        for number, controls in zip(numbers, self._maps(images[numbers], self._controls), strict=True):
            seen = framed[number].seen_patches
            values[number] = prompt_specificity(maps[number][0][seen], controls[:, seen])
        return values
