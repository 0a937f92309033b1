"""Images that do not belong to a set of healthy ones: of another kind, size or modality.

How the rule was found, on breast ultrasound, children's chest X-rays and slices of brain tumours (sets of 4 to 32
drawn from 40 to 60 images, features of the embedded encoder):

- The median of an image's distances to the others is compared, since half of the others may then be odd themselves.
  Its largest value in a set of one kind is 1.1 to 1.5 times the usual one (95 % of sets: below 1.75), whatever their
  number; a bound in deviations alone would leave somebody out in every third set of 16 and every other one of 32.
- An image of another anatomy and modality is 2 to 6 times as far away as usual. With both bounds one is found in at
  least 3 of 4 sets of 4, and in all sets of 8 and more.
- A set of one kind loses anybody in 3 of 100 sets or fewer. Widely spread features (few independent directions with
  heavy tails) lose more; that the left-out ones are named lets a person overrule it.
- Disease is not what this finds: malignant breast lesions among healthy breasts in 1 of 3 cases, pneumonia in 3 of 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from anomalabel.errors import ConfigError
from anomalabel.localization.patch_features import SlicePatches

FEWEST = 4
"""Images, below which distances tell nothing: among three, any of them may be the odd one."""

DEVIATIONS = 3.5
"""Standard deviations above the median, from the median absolute deviation (Iglewicz and Hoaglin 1993)."""

DISTANCE_FACTOR = 1.75
SIZE_FACTOR = 2.0
FEWEST_SIZES = 3
NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution, in median absolute deviations."""

SMALLEST_DEVIATION = 1e-9


@dataclass(frozen=True)
class ImageFacts:
    """What is compared of an image beside its features.

    Args:
        shape: (Z, Y, X) voxels; a picture has Z = 1.
        modality: DICOM's code; "" where the file does not say, and then it is not compared.
    """

    shape: tuple[int, int, int]
    modality: str = ""


@dataclass(frozen=True)
class OddOne:
    """An image that does not belong to the others.

    Args:
        number: its place among those that were compared.
        distance: from the others, in multiples of what is usual among them; None where too few were compared.
        reason: a part of a sentence.
    """

    number: int
    distance: float | None
    reason: str


@dataclass(frozen=True)
class OddReport:
    """Who is odd, and how far everybody is from the others.

    Args:
        odd: by ascending number.
        distances: of every image, in multiples of the median; () where they tell nothing.
        untold: why they tell nothing, a sentence; "" where they do.
    """

    odd: tuple[OddOne, ...]
    distances: tuple[float, ...]
    untold: str = ""

    @property
    def numbers(self) -> tuple[int, ...]:
        """Places of the odd ones."""
        return tuple(one.number for one in self.odd)


def odd_ones(vectors: NDArray[np.floating], facts: Sequence[ImageFacts]) -> OddReport:
    """The images of a set that are unlike the rest.

    Odd is whose median Euclidean distance to the others exceeds the median of all by `DISTANCE_FACTOR` and by
    `DEVIATIONS`; who has more than `SIZE_FACTOR` times, or less than 1/`SIZE_FACTOR` of, the median rows or columns;
    a picture among volumes or the reverse; and whose modality is not the most common one.

    Args:
        vectors: (n, D) finite, one for each image, as `image_vectors` gives them.
        facts: n of them.

    Raises:
        ConfigError: two modalities are equally common, or pictures and volumes are.
    """
    distances = _relative_distances(np.asarray(vectors, dtype=np.float64))
    reasons = [[*other, *size] for other, size in zip(_other_kinds(facts), _other_sizes(facts), strict=True)]
    for number in _far(distances):
        reasons[number].append(f"it is {distances[number]:.1f} times as far from the others as is usual")
    odd = tuple(
        OddOne(number, float(distances[number]) if distances.size else None, "; ".join(reason))
        for number, reason in enumerate(reasons)
        if reason
    )
    untold = ""
    if not distances.size:
        untold = f"Whether one of {len(facts)} images is unlike the others cannot be told"
        untold += f": at least {FEWEST} are needed." if len(facts) < FEWEST else ": most of them are the same."
    return OddReport(odd, tuple(map(float, distances)), untold)


LevelMeans = tuple[NDArray[np.float64], ...]
"""Of one image, its mean feature vector (C_l,) on each level."""


def image_means(slices: Sequence[SlicePatches]) -> LevelMeans:
    """The mean over an image's seen patches on each level; of slices, at least one, each counts the same."""
    return tuple(
        np.mean([_mean_of_seen(one, level) for one in slices], axis=0) for level in range(len(slices[0].levels))
    )


def image_vectors(images: Sequence[LevelMeans]) -> NDArray[np.float64]:
    """One vector for each image, each level as heavy as the others.

    Args:
        images: of `image_means`, all from one encoder.

    Returns:
        (n, sum of C_l) float64, about the median of all.
    """
    levels = []
    for level in zip(*images, strict=True):
        means = np.stack(level)
        centred = means - np.median(means, axis=0)
        deviation = np.sqrt(np.median(centred**2, axis=0).sum())
        levels.append(centred / max(float(deviation), SMALLEST_DEVIATION))
    return np.concatenate(levels, axis=1)


def _mean_of_seen(one: SlicePatches, level: int) -> NDArray[np.float64]:
    features = one.levels[level].detach().cpu().double()
    seen = torch.from_numpy(np.ascontiguousarray(one.seen))[None, None].double()
    weights = functional.adaptive_max_pool2d(seen, features.shape[1:])[0]
    if not weights.any():
        weights = torch.ones_like(weights)
    mean: NDArray[np.float64] = ((features * weights).sum((1, 2)) / weights.sum()).numpy()
    return mean


def _relative_distances(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) median distance to the others over the median of all; (0,) where that is unknown."""
    count = len(vectors)
    if count < FEWEST:
        return np.zeros(0)
    apart = cdist(vectors, vectors)
    others = np.median(apart[~np.eye(count, dtype=bool)].reshape(count, count - 1), axis=1)
    usual = float(np.median(others))
    return others / usual if usual > SMALLEST_DEVIATION else np.zeros(0)


def _far(distances: NDArray[np.float64]) -> list[int]:
    if not distances.size:
        return []
    deviation = NORMAL_MAD * float(np.median(np.abs(distances - 1)))
    bound = max(1 + DEVIATIONS * deviation, DISTANCE_FACTOR)
    return [int(number) for number in np.flatnonzero(distances > bound)]


def _other_kinds(facts: Sequence[ImageFacts]) -> list[list[str]]:
    dimensions = ["a volume" if one.shape[0] > 1 else "a picture" for one in facts]
    modalities = [one.modality for one in facts]
    common_dimension, common_modality = _most_common(dimensions), _most_common([one for one in modalities if one])
    reasons: list[list[str]] = [[] for _ in facts]
    for number, (dimension, modality) in enumerate(zip(dimensions, modalities, strict=True)):
        if dimension != common_dimension:
            reasons[number].append(f"it is {dimension}, and most are not")
        if modality not in ("", common_modality):
            reasons[number].append(f"its modality is {modality}, of most {common_modality}")
    return reasons


def _other_sizes(facts: Sequence[ImageFacts]) -> list[list[str]]:
    if len(facts) < FEWEST_SIZES:
        return [[] for _ in facts]
    planes = np.array([one.shape[1:] for one in facts], dtype=np.float64)
    usual = np.median(planes, axis=0)
    factor = np.maximum(planes / usual, usual / planes).max(axis=1)
    return [
        [f"it has {columns:.0f} x {rows:.0f} pixels, the others about {usual[1]:.0f} x {usual[0]:.0f}"]
        if times > SIZE_FACTOR
        else []
        for (rows, columns), times in zip(planes, factor, strict=True)
    ]


def _most_common(names: Sequence[str]) -> str:
    counted = Counter(names).most_common(2)
    if len(counted) == 2 and counted[0][1] == counted[1][1]:
        (first, count), (second, _) = sorted(counted)
        raise ConfigError(
            f"The healthy images are of two kinds: {count} x {first}, {count} x {second}.", "Give images of one kind."
        )
    return counted[0][0] if counted else ""
