"""Speed and agreement of CLAP attention, each a ratio inside one run.

    python benchmarks/attention.py speed [--repeats 3] [--device auto]
    python benchmarks/attention.py agreement [--plot FILE.png]

speed: ViT-B/16 with random weights, one image, two prompts, ten noise samples, ten steps. The public loop (the
tests' plain reference: whole encoder in every step, text encoded in every step, every weight with a gradient) against
the fast path in float32 with the same noise, and against the default setting over a batch of slices.

agreement: the embedded model on slices of a real head with planted lesions; Spearman's rank correlation of the CLAP
map of each setting to a float32 map of 100 independent noise samples, beside its time per slice.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import open_clip
import torch
from torch import Tensor

from anomalabel.attention.clap import scale_to_unit
from anomalabel.attention.information_bottleneck import attention_maps, draw_noise
from anomalabel.attention.specificity import rank_correlation
from anomalabel.backbones.device import choose_device, choose_dtype
from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.backbones.loading import load_model
from anomalabel.config import AttentionSettings, load_config
from anomalabel.demo.lesion import load_head
from anomalabel.finding import ModelIdentity
from anomalabel.preprocessing.framing import SquareFrame
from anomalabel.preprocessing.prepare import prepare_volume
from anomalabel.preprocessing.slices import extract_slice, slice_positions, slice_spacing_mm
from anomalabel.prompts.render import render_prompts
from anomalabel.training.synthetic import plant_lesion
from anomalabel.volume import Volume

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = ["Glioma, Astrocytoma, Oligodendroglioma", "Normal, Healthy gray matter"]
PUBLIC = AttentionSettings(samples=10, antithetic=False)
DEFAULT = AttentionSettings()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    speed = commands.add_parser("speed")
    speed.add_argument("--repeats", type=int, default=3)
    speed.add_argument("--device", default="auto")
    agreement = commands.add_parser("agreement")
    agreement.add_argument("--plot", type=Path)
    agreement.add_argument("--slices", type=int, default=8)
    given = parser.parse_args()
    if given.command == "speed":
        measure_speed(given.repeats, given.device)
    else:
        measure_agreement(given.slices, given.plot)


def measure_speed(repeats: int, device_name: str) -> None:
    device = choose_device(device_name)
    torch.manual_seed(0)
    network = open_clip.create_model("ViT-B-16")
    tokenizer = open_clip.get_tokenizer("ViT-B-16")
    images = torch.rand(DEFAULT.batch_size, 224, 224)
    plain = _wrap(network, tokenizer, device, torch.float32)
    noise = _noise(plain, PUBLIC).to(device)
    texts = plain.encode_texts(PROMPTS)
    fast_seconds, fast_maps = _timed(lambda: attention_maps(plain, images[:1], texts, PUBLIC, noise), repeats, device)
    slow_seconds, slow_maps = _timed(
        lambda: _public_loop(plain, network, tokenizer, images[:1], noise), repeats, device
    )
    difference = np.abs(_clap(fast_maps.cpu().numpy()) - _clap(slow_maps.cpu().numpy())).max()
    dtype = choose_dtype(device, "auto")
    quick = _wrap(network, tokenizer, device, dtype)
    quick_noise = _noise(quick, DEFAULT)
    quick_seconds, _ = _timed(lambda: attention_maps(quick, images, texts, DEFAULT, quick_noise), repeats, device)
    per_image = quick_seconds / len(images)
    print(f"device {device}, {torch.get_num_threads()} threads, medians of {repeats}")
    label = f"default, {str(dtype).removeprefix('torch.')}, {DEFAULT.samples} samples, batches of {len(images)}"
    for name, seconds in (
        ("public loop, float32, 10 samples", slow_seconds),
        ("fast path, float32, same noise", fast_seconds),
        (label, per_image),
    ):
        print(f"{name:48s} {seconds:8.2f} s per image {slow_seconds / seconds:6.1f} x")
    print(f"largest difference of the CLAP map, public loop to fast path: {difference:.1e}")


def measure_agreement(count: int, plot: Path | None) -> None:
    config = load_config("brain_mri")
    images = _head_slices(count)
    exact = load_model("embedded", precision="float32")
    automatic = load_model("embedded")
    prompts = render_prompts(config)
    texts = torch.stack([exact.encode_texts(side).mean(0) for side in (prompts.positive, prompts.negative)])
    chosen = config.attention.for_model(exact.identity.name)
    published = config.attention
    rows = []
    # The published layer 9 is of a deeper network; its beta fits any.
    for layer, beta in ((chosen.layer, chosen.beta), (chosen.layer, published.beta)):
        truth = _maps(
            exact, images, texts, AttentionSettings(layer=layer, beta=beta, samples=100, antithetic=False), 99
        )
        for model in (exact, automatic):
            for samples, antithetic in ((1, False), (2, False), (2, True), (10, True)):
                settings = AttentionSettings(layer=layer, beta=beta, samples=samples, antithetic=antithetic)
                start = time.perf_counter()
                maps = _maps(model, images, texts, settings, 0)
                seconds = (time.perf_counter() - start) / len(images)
                values = [rank_correlation(a.ravel(), b.ravel()) for a, b in zip(truth, maps, strict=True)]
                rows.append((layer, beta, str(model.dtype)[6:], samples, antithetic, seconds, values))
    print("layer  beta   precision  samples           s/slice  rank correlation: median, lowest")
    for layer, beta, dtype, samples, antithetic, seconds, values in rows:
        kind = "antithetic" if antithetic else "independent"
        print(
            f"{layer:5d} {beta:6.3f}  {dtype:9s} {samples:3d} {kind:11s} {seconds:9.3f}  "
            f"{statistics.median(values):.3f}, {min(values):.3f}"
        )
    if plot is not None:
        _draw(rows, plot)


def _maps(
    model: OpenClipModel, images: Tensor, texts: Tensor, settings: AttentionSettings, seed: int
) -> list[np.ndarray]:
    """CLAP maps of each image on the patch grid."""
    noise = _noise(model, settings, seed)
    batch = max(1, 16 // settings.samples)
    parts = [
        attention_maps(model, images[start : start + batch], texts, settings, noise)
        for start in range(0, len(images), batch)
    ]
    return [_clap(one.numpy()) for one in torch.cat(parts, dim=1).transpose(0, 1)]


def _clap(maps: np.ndarray) -> np.ndarray:
    """(2, ...) attention to A_positive - A_negative, each scaled to [0, 1]."""
    positive, negative = (scale_to_unit(one, float(one.min()), float(one.max())) for one in maps)
    return positive - negative


def _noise(model: OpenClipModel, settings: AttentionSettings, seed: int = 0) -> Tensor:
    rows, columns = model.tower.grid
    return draw_noise(settings, rows * columns + model.tower.prefix_tokens, model.tower.width, seed)


def _wrap(
    network: torch.nn.Module, tokenizer: open_clip.SimpleTokenizer, device: torch.device, dtype: torch.dtype
) -> OpenClipModel:
    return OpenClipModel(network, tokenizer, ModelIdentity(name="ViT-B-16", weights_sha256="0" * 64), device, dtype)


def _public_loop(
    model: OpenClipModel, network: torch.nn.Module, tokenizer: open_clip.SimpleTokenizer, images: Tensor, noise: Tensor
) -> Tensor:
    reference = _reference()
    network.requires_grad_(True)
    codes = tokenizer(PROMPTS).to(model.device)
    maps = [
        reference.reference_map(
            network.encode_image,
            lambda row=row: network.encode_text(codes[row : row + 1]),
            model.tower.blocks[PUBLIC.layer],
            model.normalise(images),
            noise,
            PUBLIC.beta,
        )
        for row in range(len(PROMPTS))
    ]
    network.requires_grad_(False)
    return torch.stack(maps).unflatten(-1, model.tower.grid)[:, None]


def _reference() -> ModuleType:
    path = ROOT / "tests" / "attention" / "m2ib_reference.py"
    spec = importlib.util.spec_from_file_location("m2ib_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _timed(work: Callable[[], Tensor], repeats: int, device: torch.device) -> tuple[float, Tensor]:
    durations = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations), result


def _head_slices(count: int) -> Tensor:
    """Axial slices of the demo's head, every second one with a planted lesion, as the model sees them."""
    config = load_config("brain_mri")
    head = load_head()
    volume = Volume(head.t1.T, head.affine_ras, modality="MR", source="head")
    prepared = prepare_volume(volume, config.preprocessing)
    positions = slice_positions(volume, "acquisition", prepared.seen, 0.1)
    generator = np.random.default_rng(0)
    images = []
    for number, index in enumerate(np.linspace(0, len(positions) - 1, count).round().astype(int)):
        position = positions[index]
        seen = extract_slice(prepared.seen, volume.affine_ras, position)
        frame = SquareFrame.around(seen.shape, slice_spacing_mm(volume.affine_ras, position), 224, seen)
        image = frame.to_model(extract_slice(prepared.scaled, volume.affine_ras, position)).clip(0, 1)
        images.append(plant_lesion(image, generator)[0] if number % 2 else image)
    return torch.from_numpy(np.stack(images))


def _draw(rows: list[tuple], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for dtype, marker in (("float32", "o"), ("bfloat16", "s")):
        for beta in sorted({row[1] for row in rows}):
            chosen = sorted((row[5], statistics.median(row[6])) for row in rows if row[1] == beta and row[2] == dtype)
            axes.plot(*zip(*chosen, strict=True), marker=marker, label=f"{dtype}, beta {beta:g}")
    axes.axhline(0.95, color="gray", linestyle="--")
    axes.set(xscale="log", xlabel="seconds per slice", ylabel="rank correlation to 100 samples, float32")
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
