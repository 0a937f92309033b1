"""Test images that a method has seen among its shots: copies, and what looks the same to the eye.

How the comparison and its threshold were found, on breast ultrasound (BUSI, 401), paediatric chest X-rays (1,965),
slices of brain tumours (766) and two brains in one standard space: all pairs of each, the top ones looked at as
pictures.

- Plain thumbnails don't do: X-rays of different children correlate up to 0.98 at 16 x 16 pixels. With the blur taken
  away and the rest divided by its local strength, ribs, vessels and speckle count and brightness doesn't.
- Different children then reach 0.45 and different patients' brains 0.59 (heads of one shape, one of them mirrored).
- The same image after JPEG quality 20, halving, doubling, gamma 0.6 to 1.6, other brightness or contrast, or noise
  stays at 0.80 to 1.00; the copies under other names among the chest X-rays lie at 1.00.
- BUSI's frames of one breast spread from 1.00 down to 0.3 as the probe moves. The threshold finds the still ones;
  frames after a move, crops of more than 2 % and turns are not found, so no find is no proof that patients are apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from anomalabel.errors import ImageReadError
from anomalabel.evaluation.cases import EvaluationCase
from anomalabel.io.content import content_sha256
from anomalabel.io.read import read_volume
from anomalabel.volume import FloatArray

SIMILARITY = 0.65
"""From here on two images count as near-duplicates; see above."""

SIDE = 64
BLUR = 1.0
STRENGTH_BLUR = 3.0
STRENGTH_FLOOR = 0.05
"""In standard deviations of the image: keeps the noise of an empty background from counting as structure."""
MAXIMUM_SHIFT = 3
"""Thumbnails are compared shifted by up to this many of their pixels, 5 % of the image."""
VOLUME_SLICES = (0.25, 0.5, 0.75)
"""A volume is compared by the slices at these shares of its depth."""

SHOTS_AT_ONCE = 16
"""In one matrix product, which is nearly twice as fast as one shot after the other; on one core some 180,000 pairs of
pictures a second: 7,500 shots and 3,700 test images take two and a half minutes."""

Progress = Callable[[int, int], None]
"""Called with what is done and how much there is; may raise to stop."""


@dataclass(frozen=True)
class Thumbprint:
    """What is compared of an image.

    Args:
        sha256: of its files.
        planes: (P, SIDE, SIDE) float32 of unit length, all 0 for an image without structure; P is 1 for a picture, the
            number of compared slices for a volume.
    """

    sha256: str
    planes: FloatArray


@dataclass(frozen=True)
class NearDuplicate:
    """A test image that looks like a shot.

    Args:
        similarity: 0 to 1; 1 where the files are the same.
        mirrored: it looks like the shot's mirror image.
    """

    shot: EvaluationCase
    case: EvaluationCase
    similarity: float
    mirrored: bool = False


def find_near_duplicates(
    shots: Sequence[EvaluationCase],
    test: Sequence[EvaluationCase],
    cache: MutableMapping[Path, Thumbprint] | None = None,
    similarity: float = SIMILARITY,
    progress: Progress | None = None,
) -> list[NearDuplicate]:
    """Pairs of a shot and a test image that are the same file or look the same, most alike first.

    Looking the same is the largest correlation of two thumbnails over small shifts and mirroring left to right, so
    that copies of another size, encoding, brightness or contrast are found. Images that cannot be read are passed over:
    whoever evaluates them says so.

    Args:
        cache: thumbprints by image path, read and added to; pass the same one for all draws.
        similarity: the smallest that is reported, in (0, 1].
        progress: told of images read and shots compared.
    """
    known: MutableMapping[Path, Thumbprint] = {} if cache is None else cache
    told = progress or _nobody
    steps = len(shots) + len(test) + len(shots)
    prints = _prints((*shots, *test), known, lambda done: told(done, steps))
    compared = len(shots) + len(test)
    found: list[NearDuplicate] = []
    for depth in {prints[case.image].planes.shape[0] for case in test if case.image in prints}:
        pictures = _Pictures.of(test, prints, depth)
        chosen = [one for one in shots if one.image in prints and prints[one.image].planes.shape[0] == depth]
        for start in range(0, len(chosen), SHOTS_AT_ONCE):
            told(compared, steps)
            block = chosen[start : start + SHOTS_AT_ONCE]
            found += pictures.like(block, [prints[shot.image] for shot in block], similarity)
            compared += len(block)
    return sorted(found, key=lambda pair: (-pair.similarity, pair.shot.identity, pair.case.identity))


def thumbprint_of(image: Path) -> Thumbprint:
    """Read an image and reduce it to what is compared.

    Raises:
        ImageReadError: it cannot be read.
    """
    array = read_volume(image).array
    shares = VOLUME_SLICES if array.shape[0] > 1 else (0.5,)
    planes = np.stack([_structure(array[int(array.shape[0] * share)]) for share in shares])
    length = float(np.linalg.norm(planes))
    return Thumbprint(content_sha256(image), planes / length if length > 0 else planes)


@dataclass(frozen=True)
class _Pictures:
    """Test images of one number of planes: (N, P * SIDE * SIDE) thumbprints, and the places of each file's copies."""

    cases: Sequence[EvaluationCase]
    stacked: FloatArray
    places: Mapping[str, list[int]]

    @classmethod
    def of(cls, test: Sequence[EvaluationCase], prints: Mapping[Path, Thumbprint], depth: int) -> _Pictures:
        cases = [case for case in test if case.image in prints and prints[case.image].planes.shape[0] == depth]
        places: dict[str, list[int]] = {}
        for number, case in enumerate(cases):
            places.setdefault(prints[case.image].sha256, []).append(number)
        return cls(cases, np.stack([prints[case.image].planes.ravel() for case in cases]), places)

    def like(
        self, shots: Sequence[EvaluationCase], thumbprints: Sequence[Thumbprint], similarity: float
    ) -> list[NearDuplicate]:
        """Pairs with a few shots at once."""
        planes = np.stack([thumbprint.planes for thumbprint in thumbprints])
        plain, mirrored = (_best_over_shifts(side, self.stacked) for side in (planes, planes[..., ::-1]))
        best = np.minimum(np.maximum(plain, mirrored), 1.0)
        turned = mirrored > plain
        for row, thumbprint in enumerate(thumbprints):
            same = self.places.get(thumbprint.sha256, [])
            best[row, same], turned[row, same] = 1.0, False
        return [
            NearDuplicate(shots[row], self.cases[number], float(best[row, number]), bool(turned[row, number]))
            for row, number in zip(*np.nonzero(best >= similarity), strict=True)
        ]


def _prints(
    cases: Sequence[EvaluationCase], known: MutableMapping[Path, Thumbprint], told: Callable[[int], None]
) -> dict[Path, Thumbprint]:
    """Thumbprints of the images that can be read."""
    prints = {}
    for number, case in enumerate(cases):
        told(number)
        if case.image not in known:
            try:
                known[case.image] = thumbprint_of(case.image)
            except ImageReadError:
                continue
        prints[case.image] = known[case.image]
    return prints


def _structure(plane: FloatArray) -> FloatArray:
    """(SIDE, SIDE) float32: fine structure of a slice, of even strength everywhere, with mean 0."""
    seen = np.isfinite(plane)
    filled = np.where(seen, plane, plane[seen].mean() if seen.any() else 0).astype(np.float32)
    small = np.asarray(Image.fromarray(filled).resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    spread = float(small.std())
    if spread <= 1e-6 * float(np.abs(small).max()):
        return np.zeros((SIDE, SIDE), dtype=np.float32)
    small = (small - small.mean()) / spread
    fine = small - gaussian_filter(small, BLUR)
    even = fine / (np.sqrt(gaussian_filter(fine**2, STRENGTH_BLUR)) + STRENGTH_FLOOR)
    return (even - even.mean()).astype(np.float32)


def _best_over_shifts(planes: FloatArray, others: FloatArray) -> FloatArray:
    """Largest correlation of thumbprints (B, P, SIDE, SIDE) with each of (N, P * SIDE * SIDE): (B, N)."""
    shifts = range(-MAXIMUM_SHIFT, MAXIMUM_SHIFT + 1)
    rolled = np.stack([np.roll(planes, (rows, columns), axis=(2, 3)) for rows in shifts for columns in shifts], axis=1)
    every = rolled.reshape(-1, others.shape[1]) @ others.T
    return every.reshape(len(planes), -1, len(others)).max(axis=1)


def _nobody(done: int, total: int) -> None:
    """Nobody is watching."""
