"""Healthy images as few-shot training takes them, and the views that are made of each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import AugmentationSettings, FewShotSettings, TaskShares
from anomalabel.localization.few_shot.grid import GridFeatures, grid_features, on_common_grid
from anomalabel.localization.framed_slices import FramedSlice
from anomalabel.localization.patch_features import FEATURES_VERSION, PatchStore, SlicePatches, encode_framed
from anomalabel.training.augmentation import augment
from anomalabel.training.tasks.draw import TASKS, draw_task

VIEWS_VERSION = 1
"""Part of the key of every view: raise it with every change of the tasks, the augmentation or of this file."""


@dataclass(frozen=True)
class Shot:
    """A healthy image.

    Args:
        framed: its slices in the encoder's input, at least one.
        patches: features of each, on the common grid.
    """

    framed: tuple[FramedSlice, ...]
    patches: tuple[SlicePatches, ...]


@dataclass(frozen=True)
class Views:
    """What was made of a shot's slices and encoded once.

    Args:
        patches: of V views, on the common grid.
        place: (V, P) in [0, 1], share of each patch that is anomalous.
    """

    patches: tuple[SlicePatches, ...]
    place: Tensor

    @property
    def healthy(self) -> tuple[SlicePatches, ...]:
        """Views without anomaly: augmented, nothing else."""
        return tuple(one for one, place in zip(self.patches, self.place, strict=True) if not place.any())

    @property
    def features(self) -> GridFeatures:
        """Of all views."""
        return grid_features(self.patches)


def make_views(
    shot: Shot,
    encoder: PatchEncoder,
    settings: FewShotSettings,
    augmentation: AugmentationSettings,
    seed: int,
    store: PatchStore | None = None,
) -> Views:
    """Augment a shot's slices, plant anomalies into them by the shares of the tasks, and encode them.

    A view depends on its slice, the settings and the seed alone, so that a shot's views are the same whichever other
    shots it is learned with, and a store has them the second time. The views of a volume are spread over its slices.

    Args:
        augmentation: not used where the settings turn augmentation off.
        seed: of everything random.
        store: keeps features, None for none.
    """
    wanted = max(settings.training.views // len(shot.framed), 1)
    kinds = _kinds(settings.tasks, wanted * len(shot.framed))
    patches, places = [], []
    for number, one in enumerate(shot.framed):
        own = kinds[number * wanted : (number + 1) * wanted]
        drawn_by = _digest(one, VIEWS_VERSION, seed, own, augmentation if settings.augmentation else None)
        encoded_by = (FEATURES_VERSION, type(encoder).__qualname__, encoder.side, encoder.identity.model_dump_json())
        keys = [
            hashlib.blake2b(repr((encoded_by, view)).encode() + drawn_by, digest_size=32).digest()
            for view in range(wanted)
        ]
        found = [None if store is None else store.find(key) for key in keys]
        made = [view for view in found if view is not None]
        if len(made) < len(keys):
            made = _make(one, own, augmentation if settings.augmentation else None, drawn_by, encoder)
            for key, view in zip(keys, made, strict=True):
                if store is not None:
                    store.keep(key, view)
        patches += [replace(view, levels=view.levels[:-1]) for view in made]
        places += [view.levels[-1][0].flatten() for view in made]
    return Views(tuple(patches), torch.stack(places))


def _kinds(shares: TaskShares, count: int) -> tuple[str, ...]:
    """As many tasks of each kind as its share says, the largest remainders rounded up, in turn."""
    exact = np.array([getattr(shares, name) for name in TASKS], dtype=np.float64)
    exact *= count / exact.sum()
    whole = np.floor(exact).astype(int)
    for place in np.argsort(whole - exact, kind="stable")[: count - int(whole.sum())]:
        whole[place] += 1
    order = sorted(
        (turn / number, name) for name, number in zip(TASKS, whole, strict=True) for turn in range(int(number))
    )
    return tuple(name for _, name in order)


def _digest(
    one: FramedSlice, version: int, seed: int, kinds: tuple[str, ...], augmentation: AugmentationSettings | None
) -> bytes:
    """Of all that decides what is drawn for a slice, whichever encoder looks at it."""
    settings = None if augmentation is None else augmentation.model_dump_json()
    digest = hashlib.blake2b(repr((version, seed, kinds, settings, one.frame)).encode(), digest_size=32)
    digest.update(np.ascontiguousarray(one.image).data)
    digest.update(np.ascontiguousarray(one.body).data)
    return digest.digest()


def _make(
    one: FramedSlice,
    kinds: tuple[str, ...],
    augmentation: AugmentationSettings | None,
    drawn_by: bytes,
    encoder: PatchEncoder,
) -> list[SlicePatches]:
    generator = np.random.default_rng(np.frombuffer(drawn_by, dtype=np.uint32))
    views, masks = [], []
    for kind in kinds:
        image, body = one.image, one.body > 0
        if augmentation is not None:
            image, body = augment(image, body, augmentation, generator)
        only = TaskShares(**{name: float(name == kind) for name in TASKS})
        example = draw_task(image, body, only, generator)
        views.append(FramedSlice(one.frame, example.image, body.astype(np.float32)))
        masks.append(example.mask)
    return [_with_place(view, mask) for view, mask in zip(encode_framed(encoder, views), masks, strict=True)]


def _with_place(view: SlicePatches, mask: np.ndarray) -> SlicePatches:
    """The view on the common grid with the mask's share of each patch as its last level, as the store keeps it."""
    on_grid = on_common_grid(view)
    rows, columns = on_grid.seen.shape
    place = functional.adaptive_avg_pool2d(torch.from_numpy(mask)[None], (rows, columns)).to(view.levels[0].device)
    return replace(on_grid, levels=(*on_grid.levels, place.float()))
