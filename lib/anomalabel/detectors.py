"""One detector per method: from a prepared volume to an anomaly map on the source grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from anomalabel.attention.clap import scale_to_unit
from anomalabel.attention.information_bottleneck import attention_maps, draw_noise
from anomalabel.attention.specificity import CONTROL_TEXTS, prompt_specificity
from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.config import AnatomyConfig, Method
from anomalabel.errors import ModelError
from anomalabel.finding import PromptTexts
from anomalabel.preprocessing.framing import SquareFrame
from anomalabel.preprocessing.prepare import PreparedVolume, prepare_slice
from anomalabel.preprocessing.slices import SlicePosition, extract_slice, insert_slice, slice_spacing_mm
from anomalabel.volume import FloatArray, Matrix

Progress = Callable[[int, int], None]
"""Called with slices done and slices in all; may raise Cancelled."""

SPECIFICITY_SLICES = 4
"""Slices of a volume, evenly spread, on which prompt specificity is measured."""


@dataclass(frozen=True)
class Detection:
    """What a detector found out about one volume.

    Args:
        anomaly_map: (Z, Y, X) float32 on the source grid, larger = more anomalous, NaN where nothing was seen.
        image_score: probability of the disease texts against the health texts, 0 to 1; of a volume the largest slice's.
        prompt_specificity: see attention.specificity.
    """

    anomaly_map: FloatArray
    image_score: float
    prompt_specificity: float


class Detector(Protocol):
    """A method that turns a prepared volume into an anomaly map."""

    def detect(
        self, prepared: PreparedVolume, affine_ras: Matrix, positions: Sequence[SlicePosition], progress: Progress
    ) -> Detection:
        """Look at the slices at `positions` of a volume and put the maps back on its grid."""
        ...


@dataclass(frozen=True)
class _FramedSlice:
    """Where one slice belongs, how it sits in the model's input, and which of its patches hold body."""

    position: SlicePosition
    frame: SquareFrame
    seen_patches: NDArray[np.bool_]


@dataclass(frozen=True)
class _SliceAttention:
    """Raw attention of one slice, (prompts, rows, columns) on the patch grid, and what else was measured on it.

    A volume's worth of these is kept, so they hold no pixels.
    """

    framed: _FramedSlice
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
        method: "clap", or "plp" for the disease texts alone.
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
        sides = [model.encode_texts(texts).mean(0) for texts in (prompts.positive, prompts.negative)]
        self._texts = functional.normalize(torch.stack(sides), dim=-1)
        self._mapped = self._texts if method == "clap" else self._texts[:1]
        self._controls = model.encode_texts(CONTROL_TEXTS)

    def detect(
        self, prepared: PreparedVolume, affine_ras: Matrix, positions: Sequence[SlicePosition], progress: Progress
    ) -> Detection:
        """See `Detector.detect`. Memory beyond the volume's does not grow with the number of slices."""
        attended = list(self._attend(prepared, affine_ras, positions, progress))
        ranges = self._ranges(attended)
        total = np.zeros(prepared.scaled.shape, dtype=np.float32)
        count = np.zeros(prepared.scaled.shape, dtype=np.uint8)
        for slice_attention in attended:
            self._place(slice_attention, ranges, total, count, affine_ras)
        seen = prepared.seen & (count > 0)
        anomaly_map = np.full(total.shape, np.nan, dtype=np.float32)
        np.divide(total, count, out=anomaly_map, where=seen)
        return Detection(
            anomaly_map=anomaly_map,
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
    ) -> tuple[_FramedSlice, FloatArray]:
        seen = extract_slice(prepared.seen, affine_ras, position)
        image = prepare_slice(extract_slice(prepared.scaled, affine_ras, position), self._preprocessing)
        spacing_mm = slice_spacing_mm(affine_ras, position)
        frame = SquareFrame.around((seen.shape[0], seen.shape[1]), spacing_mm, self._model.side, seen)
        rows, columns = self._model.tower.grid
        height, width = self._model.side // rows, self._model.side // columns
        body = frame.to_model(seen.astype(np.float32))[: rows * height, : columns * width]
        patches = body.reshape(rows, height, columns, width).max(axis=(1, 3))
        return _FramedSlice(position, frame, patches > 0), frame.to_model(image)

    def _maps(self, images: Tensor, texts: Tensor) -> FloatArray:
        """(N, texts, rows, columns) of images (N, side, side).

        Raises:
            ModelError: the model answers with NaN or infinity.
        """
        tower = self._model.tower
        tokens = tower.grid[0] * tower.grid[1] + tower.prefix_tokens
        noise = draw_noise(self._attention, tokens, tower.width, self._seed)
        maps = attention_maps(self._model, images, texts, self._attention, noise)
        if not torch.isfinite(maps).all():
            raise ModelError(
                f"The attention of the model {self._model.identity.name} is not finite.",
                "Run `anomalabel models check` on it, or pull it again.",
            )
        return maps.transpose(0, 1).float().cpu().numpy()

    def _probabilities(self, images: Tensor) -> list[float]:
        tower = self._model.tower
        with torch.inference_mode():
            last = tower.depth - 1
            vectors = tower.embed_from(tower.tokens_after(self._model.normalise(images), last), last).float()
            cosine = functional.normalize(vectors, dim=-1) @ self._texts.T
            return (self._model.logit_scale * cosine).softmax(-1)[:, 0].tolist()

    def _ranges(self, attended: Sequence[_SliceAttention]) -> list[tuple[float, float]]:
        """Lowest and highest attention of each prompt over all seen patches."""
        values = np.concatenate([one.maps[:, one.framed.seen_patches] for one in attended], axis=1)
        return [(float(row.min()), float(row.max())) for row in values]

    def _place(
        self,
        slice_attention: _SliceAttention,
        ranges: Sequence[tuple[float, float]],
        total: FloatArray,
        count: NDArray[np.uint8],
        affine_ras: Matrix,
    ) -> None:
        framed = slice_attention.framed
        scaled = [scale_to_unit(part, *bounds) for part, bounds in zip(slice_attention.maps, ranges, strict=True)]
        difference = scaled[0] - scaled[1] if len(scaled) == 2 else scaled[0]
        on_slice = framed.frame.to_source(difference)
        reached = np.isfinite(on_slice)
        of_total = extract_slice(total, affine_ras, framed.position)
        of_count = extract_slice(count, affine_ras, framed.position)
        insert_slice(total, affine_ras, framed.position, of_total + np.where(reached, on_slice, 0))
        insert_slice(count, affine_ras, framed.position, of_count + reached)

    def _specificity(
        self, framed: Sequence[_FramedSlice], images: Tensor, maps: FloatArray, wanted: Sequence[int]
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


def evenly_spread(count: int, wanted: int) -> tuple[int, ...]:
    """At most `wanted` of the numbers 0 to count - 1, evenly spread, first and last among them."""
    return tuple(dict.fromkeys(int(number) for number in np.linspace(0, count - 1, min(wanted, count)).round()))
