"""Training images in memory, and batches that hold the same image with and without a lesion."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from anomalabel.errors import ConfigError
from anomalabel.training.captions import OPPOSITES, Caption, negative_caption, positive_caption
from anomalabel.training.crops import crop_around, crop_beside
from anomalabel.training.facts import DISEASED, HEALTHY, PLANTED, UNKNOWN, Facts, place_of
from anomalabel.training.synthetic import plant_lesion

PAIR_TRIES = 1000
"""Diseased images in a row that give no two crops, after which none is expected to."""


@dataclass(frozen=True)
class TrainingImages:
    """N square images with what is known about each.

    Args:
        image: (N, side, side) uint8. lesion: (N, side, side) uint8, 255 inside a box or mask.
        located: (N,) bool, whether `lesion` says where the disease is (healthy images: True, nowhere).
        anatomy, modality, plane, condition: (N,) str.
    """

    image: NDArray[np.uint8]
    lesion: NDArray[np.uint8]
    located: NDArray[np.bool_]
    anatomy: NDArray[np.str_]
    modality: NDArray[np.str_]
    plane: NDArray[np.str_]
    condition: NDArray[np.str_]

    def without(self, anatomy: str) -> TrainingImages:
        """All but one anatomy's images.

        Raises:
            ConfigError: there are none of it, or nothing else.
        """
        kept = self.anatomy != anatomy
        if kept.all() or not kept.any():
            raise ConfigError(
                f"'{anatomy}' cannot be left out of {', '.join(sorted(set(self.anatomy.tolist())))}.",
                "Name one of several anatomies of the manifest.",
            )
        return TrainingImages(**{name: value[kept] for name, value in vars(self).items()})


@dataclass(frozen=True)
class Batch:
    """One training step's images; rows `planted` and `clean` are the same image with and without its lesion.

    Args:
        images, lesion: (N, side, side) in [0, 1].
        located: (N,) bool, whether `lesion` says where the disease is.
        diseased: (N,) 0 or 1.
        comparable: (N,) bool, whether healthy and diseased images of this kind come from one source; where they do not,
            telling them apart would teach which scanner an image comes from.
        facts: of each image. captions: true of each. positive, negative: for and against disease, without place.
        planted, clean: (pairs,) rows.
    """

    images: Tensor
    lesion: Tensor
    located: Tensor
    diseased: Tensor
    comparable: Tensor
    facts: list[Facts]
    captions: list[Caption]
    positive: list[Caption]
    negative: list[Caption]
    planted: Tensor
    clean: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on a device."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved: dict[str, Any] = {name: value.to(device) for name, value in tensors.items()}
        return replace(self, **moved)


@dataclass(frozen=True)
class BatchPlan:
    """How many of each kind one batch holds.

    Args:
        singles: untouched images per (anatomy, condition).
        planted: pairs per anatomy of a healthy image and the same with a planted lesion.
        crops: pairs per anatomy of a crop beside the lesion and a crop around it, from one diseased image; they
            keep the model from telling disease by the scanner.
        incomparable: conditions whose source has no healthy images.
    """

    singles: Mapping[tuple[str, str], int]
    planted: Mapping[str, int]
    crops: Mapping[str, int]
    incomparable: frozenset[str] = frozenset()

    def without(self, anatomy: str) -> BatchPlan:
        """The plan with one anatomy left out, for training that is judged on it."""
        return replace(
            self,
            singles={key: count for key, count in self.singles.items() if key[0] != anatomy},
            planted={key: count for key, count in self.planted.items() if key != anatomy},
            crops={key: count for key, count in self.crops.items() if key != anatomy},
        )


class BatchMaker:
    """Draws augmented batches after a plan; one seed, one sequence.

    Raises:
        ConfigError: the plan asks for a kind of image of which there is none.
    """

    def __init__(self, images: TrainingImages, plan: BatchPlan, seed: int) -> None:
        self._images = images
        self._plan = plan
        self._generator = np.random.default_rng(seed)
        self._words = random.Random(seed)
        self._singles = [(self._rows(*key), count) for key, count in plan.singles.items()]
        self._planted = [(self._rows(anatomy, HEALTHY), count) for anatomy, count in plan.planted.items()]
        self._crops = [(self._located(anatomy), count) for anatomy, count in plan.crops.items()]
        kinds = [*map(" ".join, plan.singles), *(f"{name} {HEALTHY}" for name in plan.planted)]
        kinds += [f"{name} {DISEASED} with box or mask" for name in plan.crops]
        groups = [*self._singles, *self._planted, *self._crops]
        missing = [kind for kind, (rows, count) in zip(kinds, groups, strict=True) if count and not len(rows)]
        if missing:
            raise ConfigError(
                f"There is no training image of {', '.join(dict.fromkeys(missing))}.",
                "Add some to the manifest, or leave the anatomy out.",
            )

    def draw(self) -> Batch:
        """The next batch, augmented."""
        rows: list[int] = []
        conditions: list[str] = []
        pixels: list[NDArray[np.float32]] = []
        for row in self._choose(self._singles):
            rows.append(row)
            conditions.append(str(self._images.condition[row]))
            pixels.append(self._stack(row))
        clean = []
        for row in self._choose(self._planted):
            base = self._stack(row)
            changed, shape = plant_lesion(base[0], self._generator)
            clean.append(len(rows))
            rows += [row, row]
            conditions += [HEALTHY, PLANTED]
            pixels += [base, np.stack([changed, shape])]
        for row, beside, around in self._draw_crops():
            clean.append(len(rows))
            rows += [row, row]
            conditions += [HEALTHY, str(self._images.condition[row])]
            pixels += [beside, around]
        clean_rows = torch.tensor(clean, dtype=torch.int64)
        mirrored = torch.from_numpy(self._images.anatomy[rows] != "chest")
        both_of_all = self._augment(torch.from_numpy(np.stack(pixels)), clean_rows + 1, clean_rows, mirrored)
        return self._label(rows, conditions, both_of_all, clean_rows + 1, clean_rows)

    def draw_words(self, count: int) -> list[Caption]:
        """Captions without images, for and against disease; of lesions in any place, so that its words are learned."""
        rows = [int(row) for row in self._generator.integers(len(self._images.image), size=count)]
        facts = [
            replace(
                self._facts(row, str(self._images.condition[row])),
                **{name: self._words.choice((UNKNOWN, *OPPOSITES[name])) for name in ("side", "height", "size")},
            )
            for row in rows
        ]
        return [
            positive_caption(fact, self._words) if self._words.random() < 0.5 else negative_caption(fact, self._words)
            for fact in facts
        ]

    def _choose(self, groups: Sequence[tuple[NDArray[np.int64], int]]) -> list[int]:
        return [int(row) for candidates, count in groups for row in self._generator.choice(candidates, count)]

    def _draw_crops(self) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.float32]]]:
        """As many as planned, so that every batch has the same shape; images without such crops are passed over."""
        for candidates, count in self._crops:
            found = passed_over = 0
            while found < count:
                if passed_over == PAIR_TRIES:
                    raise ConfigError(
                        f"No crops with and without lesion are found in the {len(candidates)} images of an anatomy.",
                        "Add images with smaller lesions, or leave the anatomy out.",
                    )
                row = int(self._generator.choice(candidates))
                both = self._stack(row)
                beside, around = crop_beside(both, self._generator), crop_around(both, self._generator)
                if beside is None or around is None:
                    passed_over += 1
                    continue
                found, passed_over = found + 1, 0
                yield row, beside, around

    def _rows(self, anatomy: str, condition: str) -> NDArray[np.int64]:
        return np.flatnonzero((self._images.anatomy == anatomy) & (self._images.condition == condition))

    def _located(self, anatomy: str) -> NDArray[np.int64]:
        """Diseased images whose lesion has a known place."""
        lesion = self._images.lesion.any(axis=(1, 2))
        return np.flatnonzero((self._images.anatomy == anatomy) & self._images.located & lesion)

    def _stack(self, row: int) -> NDArray[np.float32]:
        image = self._images.image[row].astype(np.float32) / 255
        return np.stack([image, self._images.lesion[row].astype(np.float32) / 255])

    def _augment(self, both: Tensor, planted: Tensor, clean: Tensor, mirrored: Tensor) -> Tensor:
        """Scale, shift, turn a little, mirror brains and breasts, change contrast; the same for both of a pair."""
        count = both.shape[0]
        generator = torch.Generator().manual_seed(int(self._generator.integers(2**31)))
        draw = torch.rand(count, 8, generator=generator)
        draw[planted] = draw[clean]
        scale = 0.9 + 0.25 * draw[:, 0]
        angle = (draw[:, 1] - 0.5) * 0.35
        mirror = torch.where((draw[:, 2] < 0.5) & mirrored, -1.0, 1.0)
        theta = torch.zeros(count, 2, 3)
        theta[:, 0, 0] = scale * angle.cos() * mirror
        theta[:, 0, 1] = -scale * angle.sin()
        theta[:, 1, 0] = scale * angle.sin() * mirror
        theta[:, 1, 1] = scale * angle.cos()
        theta[:, :, 2] = (draw[:, 3:5] - 0.5) * 0.2
        grid = functional.affine_grid(theta, list(both.shape), align_corners=False)
        moved = functional.grid_sample(both, grid, mode="bilinear", align_corners=False)
        gamma = (2 ** ((draw[:, 5] - 0.5) * 1.2)).view(-1, 1, 1)
        gain = (0.8 + 0.4 * draw[:, 6]).view(-1, 1, 1)
        moved[:, 0] = (moved[:, 0].clamp(0, 1) ** gamma * gain).clamp(0, 1)
        noise = torch.randn(moved[:, 0].shape, generator=generator) * (draw[:, 7].view(-1, 1, 1) * 0.03)
        moved[:, 0] = (moved[:, 0] + noise).clamp(0, 1)
        return moved

    def _label(self, rows: list[int], conditions: list[str], both: Tensor, planted: Tensor, clean: Tensor) -> Batch:
        paired = {*planted.tolist(), *clean.tolist()}
        facts = [
            self._facts(row, condition, lesion)
            for row, condition, lesion in zip(rows, conditions, both[:, 1].numpy(), strict=True)
        ]
        positive = [positive_caption(fact, self._words, placed=False) for fact in facts]
        negative = [negative_caption(fact, self._words) for fact in facts]
        return Batch(
            images=both[:, 0],
            lesion=both[:, 1],
            located=torch.from_numpy(self._images.located[rows]),
            diseased=torch.tensor([float(condition != HEALTHY) for condition in conditions]),
            comparable=torch.tensor(
                [
                    number in paired or condition not in self._plan.incomparable
                    for number, condition in enumerate(conditions)
                ]
            ),
            facts=facts,
            captions=[
                against if fact.condition == HEALTHY else positive_caption(fact, self._words)
                for fact, against in zip(facts, negative, strict=True)
            ],
            positive=positive,
            negative=negative,
            planted=planted,
            clean=clean,
        )

    def _facts(self, row: int, condition: str, lesion: NDArray[np.float32] | None = None) -> Facts:
        side, height, size = ("", "", "") if lesion is None or condition == HEALTHY else place_of(lesion)
        return Facts(
            anatomy=str(self._images.anatomy[row]),
            modality=str(self._images.modality[row]),
            plane=str(self._images.plane[row]),
            condition=condition,
            side=side,
            height=height,
            size=size,
        )
