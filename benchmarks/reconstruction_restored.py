"""What `reconstruction_ablation.py` scores: slices, trained networks, and how wrong their restorations are."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anomalabel.config import AnatomyConfig, ReconstructionSettings
from anomalabel.detectors.reconstruction import cuts_of
from anomalabel.evaluation.cases import EvaluationCase
from anomalabel.evaluation.images import CaseLoader
from anomalabel.localization.patch_features import PatchStore, cut_slice
from anomalabel.reconstruction.error_maps import feature_error
from anomalabel.reconstruction.gradient_similarity import msgms_map
from anomalabel.reconstruction.model import FEATURES, MSGMS, Encode, ReconstructionModel
from anomalabel.reconstruction.network import build_unet
from anomalabel.reconstruction.saliency import SaliencySources, saliency_maps
from anomalabel.reconstruction.slices import RestorableSlice, SliceBatch, batch_of, restorable_slice
from anomalabel.training.reconstruction.fit import fit_reconstruction
from anomalabel.training.reconstruction.material import HealthyCuts, Material, gather_material, held_out_count
from anomalabel.training.reconstruction.slices import HealthySlices
from anomalabel.training.reconstruction.state import remove_checkpoints

WEIGHTS_FILE, CHECKPOINTS = "network.safetensors", "unfinished"
SECONDS_BETWEEN_LINES = 60.0
LOGGER = logging.getLogger("reconstruction_ablation")

Errors = Mapping[str, Mapping[int | None, Tensor]]
"""Of each kind, by mosaic block (None without a mosaic), of all slices on the finest grid there is: (N, 1, side, side)
or (N, 1, rows, columns)."""


@dataclass(frozen=True)
class JudgedSlices:
    """Slices that a network did not learn from.

    Args:
        batch: all of them, in main memory.
        owners: of each slice, the number of its image, from 0; ascending.
    """

    batch: SliceBatch
    owners: tuple[int, ...]

    def slices_of(self) -> list[slice]:
        """Of each image, where its slices are."""
        found, start = [], 0
        for _, group in groupby(self.owners):
            count = len(list(group))
            found.append(slice(start, start + count))
            start += count
        return found


class HealthySet:
    """Slices of all healthy images with one saliency, told apart anew by each seed.

    Args: see `gather_material`.
        cases: healthy images.
    """

    def __init__(
        self,
        cases: Sequence[EvaluationCase],
        loader: CaseLoader,
        saliency: SaliencySources,
        config: AnatomyConfig,
        store: PatchStore | None,
    ) -> None:
        self._share = config.reconstruction.training.held_out
        slices = config.reconstruction.slices_a_volume
        sources = [partial(_healthy_cuts, case, loader, slices) for case in cases]
        found = gather_material(sources, saliency, config, store, log_now_and_then())
        parts = (found.learnt, found.held_out)
        self._slices = HealthySlices(
            torch.cat([part.images for part in parts]),
            torch.cat([part.hidden for part in parts]),
            torch.cat([part.inside for part in parts]),
            tuple(name for part in parts for name in part.names),
        )
        self._of_image: dict[str, list[int]] = {}
        for number, name in enumerate(self._slices.names):
            self._of_image.setdefault(name, []).append(number)

    def material(self, order: Sequence[EvaluationCase]) -> Material:
        """As `gather_material` gives it where the images come in another order; the last ones are held out."""
        held_out = held_out_count(len(order), self._share)
        learnt, judged = order[: len(order) - held_out], order[len(order) - held_out :]
        owners = tuple(number for number, case in enumerate(judged) for _ in self._of_image[case.identity])
        return Material(self._of(learnt), self._of(judged), owners, ())

    def _of(self, cases: Sequence[EvaluationCase]) -> HealthySlices:
        return self._slices.of(torch.tensor([number for case in cases for number in self._of_image[case.identity]]))


def held_out_slices(material: Material) -> JudgedSlices:
    """The material's held-out slices as they are judged."""
    held = material.held_out
    return JudgedSlices(SliceBatch(held.images[:, None].float(), held.inside, held.hidden), material.owners)


def restorable_slices(
    case: EvaluationCase,
    loader: CaseLoader,
    saliency: SaliencySources,
    config: AnatomyConfig,
    store: PatchStore | None,
) -> list[RestorableSlice]:
    """A test image as a detector looks at it."""
    image, settings = loader.load(case).image, config.reconstruction
    cuts = [cut_slice(image.prepared, image.affine_ras, position) for position in image.positions]
    maps = saliency_maps(saliency, config.preprocessing, cuts, store, settings.batch_size)
    return [restorable_slice(cut, one, settings, config.preprocessing) for cut, one in zip(cuts, maps, strict=True)]


def tested_slices(images: Iterator[list[RestorableSlice]], threshold_sd: float) -> JudgedSlices:
    """All slices of all test images."""
    batches = [batch_of(slices, threshold_sd, torch.device("cpu")) for slices in images]
    owners = tuple(number for number, batch in enumerate(batches) for _ in batch.images)
    return JudgedSlices(
        SliceBatch(
            torch.cat([one.images for one in batches]),
            torch.cat([one.inside for one in batches]),
            torch.cat([one.hidden for one in batches]),
        ),
        owners,
    )


def trained_network(
    material: Material, config: AnatomyConfig, seed: int, device: torch.device, folder: Path, fingerprint: str
) -> nn.Module:
    """The network of a training; out of the folder where it was trained before, and from its last checkpoint where it
    was interrupted."""
    settings, weights = config.reconstruction, folder / WEIGHTS_FILE
    if weights.is_file():
        network = build_unet(settings.channels)
        network.load_state_dict(load_file(weights))
        return network.eval().requires_grad_(False).to(device)
    checkpoints, watch = folder / CHECKPOINTS, log_now_and_then()
    learnt, held_out = material.learnt, material.held_out
    fit = fit_reconstruction(
        learnt, held_out, settings, config.augmentation, seed, device, watch, checkpoints, fingerprint
    )
    for warning in fit.warnings:
        LOGGER.warning("%s: %s", folder.name, warning)
    save_file({name: value.contiguous().cpu() for name, value in fit.network.state_dict().items()}, weights)
    remove_checkpoints(checkpoints)
    LOGGER.info("%s: trained, epoch %d is the best", folder.name, fit.best_epoch)
    return fit.network.requires_grad_(False)


def errors_of(
    network: nn.Module, judged: JudgedSlices, settings: ReconstructionSettings, encode: Encode, device: torch.device
) -> Errors:
    """Both kinds of error of each slice, restored once for each mosaic."""
    model = ReconstructionModel(settings, network, {}, encode)
    blocks: Sequence[int | None] = settings.mosaic.blocks if settings.saliency != "none" else (None,)
    found: dict[str, dict[int | None, list[Tensor]]] = {kind: {one: [] for one in blocks} for kind in (MSGMS, FEATURES)}
    count, size = len(judged.owners), settings.batch_size
    with torch.inference_mode():
        for start in range(0, count, size):
            whole, part = judged.batch, slice(start, start + size)
            batch = SliceBatch(*(one[part].to(device) for one in (whole.images, whole.inside, whole.hidden)))
            real = encode(batch.images)
            for block in blocks:
                restored = model.restored(batch, block)
                found[MSGMS][block].append(msgms_map(batch.images, restored, settings.similarity).cpu())
                found[FEATURES][block].append(feature_error(real, encode(restored)).cpu())
    return {kind: {block: torch.cat(parts) for block, parts in by.items()} for kind, by in found.items()}


def log_now_and_then() -> Callable[[str, int, int], None]:
    """A watch that writes a line a minute."""
    last = time.monotonic()

    def watch(stage: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            LOGGER.info("%s, %d of %d", stage, done, total)

    return watch


def _healthy_cuts(case: EvaluationCase, loader: CaseLoader, slices_a_volume: int) -> HealthyCuts:
    return HealthyCuts(case.identity, cuts_of(loader.load(case).image, slices_a_volume))
