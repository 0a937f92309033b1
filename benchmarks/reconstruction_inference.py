"""Time of reconstruction on a volume whose saliency is given, beside the U-Net's own forward time.

    python benchmarks/reconstruction_inference.py [--slices 150] [--side 256] [--repeats 5] [--threads 1]

The volume is made up: a body of random tissue in air, `side` pixels along each slice. Its saliency lies in the store,
as after a first look. The network alone takes the same slices in the same batches and precision. Both are timed in
turn, and the median of the repetitions counts. Then each step of a detection is timed by itself, in milliseconds a
slice. On one thread of a processor the process's own time is told, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from anomalabel.backbones.device import Precision, choose_device, choose_dtype
from anomalabel.backbones.encoders import NamedEncoders
from anomalabel.config import EMBEDDED, AnatomyConfig, load_config, parse_settings
from anomalabel.detectors.base import no_progress
from anomalabel.detectors.reconstruction import ReconstructionDetector
from anomalabel.finding import ModelIdentity, Threshold
from anomalabel.localization.calibration import Calibration
from anomalabel.localization.framed_slices import MapCanvas
from anomalabel.localization.patch_features import FeatureStore, cut_slice
from anomalabel.pipeline import prepare_image
from anomalabel.preprocessing.slices import SlicePosition
from anomalabel.reconstruction.error_maps import feature_encoder, feature_error, inside_cells, on_cells
from anomalabel.reconstruction.gradient_similarity import msgms_map
from anomalabel.reconstruction.healthy_level import HealthyLevel
from anomalabel.reconstruction.model import FEATURES, MSGMS, Encode, ReconstructionModel, kinds_of
from anomalabel.reconstruction.mosaic import hide
from anomalabel.reconstruction.network import build_unet
from anomalabel.reconstruction.saliency import SaliencySources, saliency_maps
from anomalabel.reconstruction.slices import RestorableSlice, SliceBatch, batch_of, restorable_slice
from anomalabel.volume import Volume

GRID, SALIENCY_SIDE = 14, 224
LIMIT = 1.3
VARIANTS: Mapping[str, Mapping[str, float | bool]] = {
    "MSGMS, body found": {"features": 0.0, "body": True},
    "MSGMS, field of view": {"features": 0.0, "body": False},
    "MSGMS and features, body found": {"features": 1.0, "body": True},
}
"""Whether the encoder's features are compared too, and whether body is told from air for the whole volume or, as for
pictures, black from the field of view slice by slice."""


class RandomSaliency:
    """A patch encoder that answers with noise: what saliency shows does not matter here."""

    side = SALIENCY_SIDE
    level_weights: tuple[float, ...] = ()
    text_level: int | None = None

    def __init__(self, seed: int) -> None:
        self.identity = ModelIdentity(name=f"random saliency {seed}", weights_sha256="")
        self._generator = torch.Generator().manual_seed(seed)

    def patch_features(self, images: Tensor) -> tuple[Tensor, ...]:
        return (torch.rand(len(images), 1, GRID, GRID, generator=self._generator),)


class Clock:
    """Sums the seconds of each step."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = self._now()
        yield
        self.seconds[step] += self._now() - start

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        alone = self._device.type == "cpu" and torch.get_num_threads() == 1
        return time.process_time() if alone else time.perf_counter()


class Subject:
    """A detector, a volume that it has seen once, and a detection's steps one by one.

    Args:
        config: of preprocessing and method.
        slices: of the volume.
        encode: of patch features, None where they are not compared.
        device: of the network.
    """

    def __init__(self, config: AnatomyConfig, slices: int, encode: Encode | None, device: torch.device) -> None:
        self._config, self._settings, self._device = config, config.reconstruction, device
        self._image = prepare_image(made_up_volume(slices, self._settings.side), config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = build_unet(self._settings.channels).eval().requires_grad_(False).to(device)
        cells = self._settings.side // self._settings.errors.cell
        level = HealthyLevel(torch.zeros(cells, cells, device=device), torch.ones(cells, cells, device=device))
        self._model = ReconstructionModel(
            self._settings, network, dict.fromkeys(kinds_of(self._settings), level), encode
        )
        self._store, self._saliency = FeatureStore(), SaliencySources((RandomSaliency(0), RandomSaliency(1)), "random")
        cut = Threshold(value=0.0, rule="none")
        self._detector = ReconstructionDetector(
            self._model,
            self._saliency,
            Calibration(cut, cut, ()),
            config,
            ModelIdentity(name="U-Net", weights_sha256=""),
            self._store,
        )
        self.detect()
        self._inputs = [
            hide(batch.images, batch.hidden, self._settings.mosaic.blocks[0])
            for batch in (batch_of(slices, 0.674, device) for _, slices in self._batches(Clock(device)))
        ]

    @property
    def slices(self) -> int:
        """That a detection looks at."""
        return len(self._image.positions)

    def detect(self) -> None:
        """The whole volume."""
        image = self._image
        self._detector.detect(image.prepared, image.affine_ras, image.positions, no_progress)

    def network(self, precision: Precision = "auto") -> None:
        """The U-Net alone on what a detection shows it."""
        dtype = choose_dtype(self._device, precision)
        for shown in self._inputs:
            with torch.inference_mode(), torch.autocast(self._device.type, dtype, enabled=dtype != torch.float32):
                self._model.network(shown)

    def steps(self) -> dict[str, float]:
        """Milliseconds a slice of each step of a detection."""
        clock, model, settings = Clock(self._device), self._model, self._settings
        image, block = self._image, settings.mosaic.blocks[0]
        canvas = MapCanvas(image.prepared.scaled.shape, image.affine_ras)
        with torch.inference_mode():
            for positions, slices in self._batches(clock):
                with clock("stacked, region suspected"):
                    batch = batch_of(slices, settings.mosaic.threshold_sd, self._device)
                with clock("mosaic"):
                    shown = hide(batch.images, batch.hidden, block)
                with clock("network"):
                    restored = model.restored(SliceBatch(shown, batch.inside, batch.hidden), None)
                with clock("MSGMS, means over cells"):
                    errors = {MSGMS: on_cells(msgms_map(batch.images, restored, settings.similarity), model.cells)}
                if model.encode is not None:
                    with clock("features by the encoder, twice"):
                        compared = feature_error(model.encode(batch.images), model.encode(restored))
                        errors[FEATURES] = on_cells(compared, model.cells)
                with clock("healthy level, scores"):
                    maps = model.map_of(errors)
                    model.slice_scores(maps, inside_cells(batch.inside, model.cells))
                with clock("maps on the volume's grid"):
                    paint(canvas, positions, slices, maps.cpu().numpy())
            with clock("maps on the volume's grid"):
                canvas.mean(image.prepared.seen)
        return {step: 1000 * seconds / self.slices for step, seconds in clock.seconds.items()}

    def _batches(self, clock: Clock) -> Iterator[tuple[Sequence[SlicePosition], list[RestorableSlice]]]:
        image, settings, preprocessing = self._image, self._settings, self._config.preprocessing
        for start in range(0, self.slices, settings.batch_size):
            positions = image.positions[start : start + settings.batch_size]
            with clock("cut"):
                cuts = [cut_slice(image.prepared, image.affine_ras, position) for position in positions]
            with clock("saliency out of the store"):
                found = saliency_maps(self._saliency, preprocessing, cuts, self._store, settings.batch_size)
            with clock("framed, field of view"):
                pairs = zip(cuts, found, strict=True)
                slices = [restorable_slice(cut, one, settings, preprocessing) for cut, one in pairs]
            yield positions, slices


def paint(
    canvas: MapCanvas, positions: Sequence[SlicePosition], slices: Sequence[RestorableSlice], maps: np.ndarray
) -> None:
    """As the detector does."""
    for position, one, values in zip(positions, slices, maps, strict=True):
        canvas.add(position, np.where(one.shown, one.frame.to_source(values), np.nan))


def made_up_volume(slices: int, side: int) -> Volume:
    """Random tissue in an ellipsoid that nearly fills the volume, noise of air around it."""
    generator = np.random.default_rng(0)
    tissue = gaussian_filter(generator.standard_normal((slices, side, side), dtype=np.float32), 2.0)
    ranges = (np.linspace(-1, 1, length, dtype=np.float32) for length in tissue.shape)
    deep, down, across = np.meshgrid(*ranges, indexing="ij", sparse=True)
    body = (deep / 1.5) ** 2 + (down / 0.9) ** 2 + (across / 0.8) ** 2 < 1
    array = np.where(body, 500 + 100 * tissue / tissue.std(), 5 * generator.random(tissue.shape, dtype=np.float32))
    return Volume(array.astype(np.float32), np.eye(4), modality="MR", source="made up")


def variant(config: AnatomyConfig, side: int, features: float, body: bool) -> AnatomyConfig:
    """The config at another size, with other errors."""
    values = config.model_dump(mode="json")
    values["reconstruction"]["side"] = side
    values["reconstruction"]["errors"]["features"] = features
    values["reconstruction"]["healthy_level"] = features > 0
    values["preprocessing"]["foreground"]["enabled"] = body
    return parse_settings(AnatomyConfig, values, config.name)


def seconds_in_turn(acts: Sequence[Callable[[], None]], repeats: int, device: torch.device) -> list[list[float]]:
    """Of each act in each repetition."""
    found: list[list[float]] = [[] for _ in acts]
    for _ in range(repeats):
        for act, times in zip(acts, found, strict=True):
            clock = Clock(device)
            with clock("act"):
                act()
            times.append(clock.seconds["act"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="brain_mri")
    parser.add_argument("--slices", type=int, default=150)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = choose_device(given.device)
    encoders = NamedEncoders(EMBEDDED, given.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{given.threads} threads"
    print(f"{where}, {choose_dtype(device, 'auto')}, {given.slices} slices of {given.side} x {given.side}\n")
    print("| | detection, ms a slice | network | ratio | limit | network in float32 |")
    print("|---|---|---|---|---|---|")
    steps = {}
    for name, changes in VARIANTS.items():
        config = variant(load_config(given.config), given.side, changes["features"], bool(changes["body"]))
        encode = feature_encoder(encoders.patch_encoder()) if changes["features"] else None
        subject = Subject(config, given.slices, encode, device)
        acts = (subject.detect, subject.network, partial(subject.network, "float32"))
        times = seconds_in_turn(acts, given.repeats, device)
        whole, network, exact = (f"{1000 * median(values) / subject.slices:.2f}" for values in times)
        # Pair by pair, since other work on the machine slows neighbours alike.
        ratio = median(one / other for one, other in zip(*times[:2], strict=True))
        limit = "" if changes["features"] else f"{LIMIT:g}"
        print(f"| {name} | {whole} | {network} | {ratio:.2f} | {limit} | {exact} |", flush=True)
        every = [subject.steps() for _ in range(given.repeats)]
        steps[name] = {step: median(one[step] for one in every) for step in every[0]}
    for name, found in steps.items():
        print(f"\n{name}: ms a slice\n")
        print("\n".join(f"- {step}: {value:.2f}" for step, value in found.items()))


if __name__ == "__main__":
    main()
