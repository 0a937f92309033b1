"""Time of MSGMS over a batch, beside per-image code as scikit-image's users write it, and how far the two differ.

    python benchmarks/msgms.py [--images 16] [--side 256] [--repeats 20] [--threads 1]

Pictures are random, restored ones differ from them by noise. All are timed in turn, the fastest of the repetitions
counts, and with one thread its processor time, so that other work on the machine disturbs little. The per-image code
runs in float64 with scikit-image's Prewitt filter, block means and resizing, one image and one scale after another.
Also told: hiding the region, finding it, and the loss with its way back, which training pays for.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.filters import prewitt
from skimage.transform import downscale_local_mean, resize
from torch import Tensor

from anomalabel.config.reconstruction import GradientSimilarity
from anomalabel.reconstruction.gradient_similarity import msgms_map
from anomalabel.reconstruction.mosaic import hide
from anomalabel.reconstruction.region import suspected_regions

BLOCK, GRID, THRESHOLD_SD = 8, 14, 0.674
LEAST_TIMES_FASTER, LARGEST_DIFFERENCE, MOST_MILLISECONDS = 10.0, 1e-5, 1.5


def per_image(images: Tensor, restored: Tensor, similarity: GradientSimilarity) -> NDArray[np.float64]:
    """(N, side, side), one image after another."""
    pairs = zip(images[:, 0].double().numpy(), restored[:, 0].double().numpy(), strict=True)
    return np.stack([_one_map(image, one, similarity) for image, one in pairs])


def _one_map(image: np.ndarray, restored: np.ndarray, similarity: GradientSimilarity) -> NDArray[np.float64]:
    shape, total = image.shape, np.zeros(image.shape)
    for _ in range(similarity.scales):
        first, second = _gradient(image), _gradient(restored)
        both = first**2 + second**2 + similarity.constant
        scale = 1 - (2 * first * second + similarity.constant) / both
        # Bilinear; the outermost pixels are repeated beyond the border, as align_corners=False does.
        total += scale if scale.shape == shape else resize(scale, shape, order=1, mode="edge", anti_aliasing=False)
        image, restored = (downscale_local_mean(one, (2, 2)) for one in (image, restored))
    return total


def _gradient(image: np.ndarray) -> NDArray[np.float64]:
    across, down = (prewitt(image, axis=axis, mode="nearest") for axis in (1, 0))
    return np.sqrt(across**2 + down**2 + 1e-12)


def fastest(works: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    """Seconds of each, taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = clock()
            work()
            seconds[name].append(clock() - start)
    return {name: min(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(given.images, 1, given.side, given.side, generator=generator)
    noise = torch.randn(images.shape, generator=generator)
    restored = (images + 0.05 * noise).clamp(0, 1)
    saliency = torch.rand(given.images, GRID, GRID, generator=generator)
    inside = torch.ones(given.images, given.side, given.side, dtype=torch.bool)
    regions = suspected_regions(saliency, inside, THRESHOLD_SD)
    similarity = GradientSimilarity()
    learnt = restored.clone().requires_grad_()
    fast, slow, back = "MSGMS of the batch", "per-image code", "MSGMS as a loss, with its way back"
    seconds = fastest(
        {
            slow: lambda: per_image(images, restored, similarity),
            fast: lambda: msgms_map(images, restored, similarity),
            back: lambda: msgms_map(images, learnt, similarity).mean().backward(),
            "hiding the region": lambda: hide(images, regions, BLOCK),
            "finding the region": lambda: suspected_regions(saliency, inside, THRESHOLD_SD),
        },
        given.repeats,
        time.process_time if given.threads == 1 else time.perf_counter,
    )
    difference = np.abs(
        msgms_map(images, restored, similarity)[:, 0].numpy() - per_image(images, restored, similarity)
    ).max()
    print(f"{given.threads} threads, {given.images} images of {given.side} x {given.side}, float32\n")
    print("| what | measured | limit |")
    print("|---|---|---|")
    limits = {fast: f"{MOST_MILLISECONDS}"} if given.side == 256 else {}
    for name, value in seconds.items():
        print(f"| {name}: ms an image | {1000 * value / given.images:.2f} | {limits.get(name, '')} |")
    print(f"| times faster than per-image code | {seconds[slow] / seconds[fast]:.1f} | {LEAST_TIMES_FASTER:g} |")
    print(f"| largest difference | {difference:.1e} | {LARGEST_DIFFERENCE:g} |")


if __name__ == "__main__":
    main()
