"""What is true of a case, on its image's grid: the lesion's pixels and boxes around its parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from anomalabel.errors import ImageReadError
from anomalabel.evaluation.cases import Box, EvaluationCase
from anomalabel.evaluation.datasets.boxes import read_boxes
from anomalabel.io.mask import read_mask


@dataclass(frozen=True)
class Truth:
    """Lesion and boxes on one grid; None where they are unknown, all False and () where there is no disease."""

    lesion: NDArray[np.bool_] | None
    boxes: tuple[Box, ...] | None


def read_truth(case: EvaluationCase, shape: tuple[int, ...]) -> Truth:
    """Lesion and boxes of a case; arguments and errors as `load_lesion` and `load_true_boxes`."""
    lesion = load_lesion(case, shape)
    return Truth(lesion, load_true_boxes(case, lesion, shape))


def load_lesion(case: EvaluationCase, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Which pixels are diseased.

    Args:
        case: a healthy one has none, whatever files lie beside it.
        shape: (Z, Y, X) of the image, or (Y, X) of a picture.

    Returns:
        bool of `shape`; None for an abnormal case without a mask. An abnormal case whose mask is empty is all False:
        its pixels count as healthy, the case as abnormal.

    Raises:
        ImageReadError: the mask cannot be read or is of another size.
    """
    if not case.abnormal:
        return np.zeros(shape, dtype=np.bool_)
    if case.mask is None:
        return None
    lesion = read_mask(case.mask)
    expected = (1, *shape) if len(shape) == 2 else shape
    if lesion.shape != expected:
        raise ImageReadError(
            f"The mask {case.mask} has {_size(lesion.shape)} pixels and its image {case.image} {_size(expected)}.",
            "Give the mask that was drawn on this image, in its size.",
        )
    return lesion.reshape(shape)


def load_true_boxes(
    case: EvaluationCase, lesion: NDArray[np.bool_] | None, shape: tuple[int, ...]
) -> tuple[Box, ...] | None:
    """Boxes around the lesions: those of the box file, else around the mask's connected parts.

    Parts touch at corners too: 8 neighbours in a picture, 26 in a volume.

    Args:
        lesion: of `load_lesion`.
        shape: (Z, Y, X) or (Y, X) of the image; the boxes have as many axes.

    Returns:
        () for a healthy case and for an empty mask or box file, None where the place is unknown.

    Raises:
        ImageReadError: the box file is broken, or belongs to a volume.
    """
    if not case.abnormal:
        return ()
    if case.boxes is not None:
        return _boxes_of_file(case.boxes, shape)
    return None if lesion is None else boxes_of_parts(lesion)


def boxes_of_parts(lesion: NDArray[np.bool_]) -> tuple[Box, ...]:
    """One box for each connected part of a mask (Y, X) or (Z, Y, X).

    SciPy labels the parts: cc3d 4.1.1 is wrong on some pictures with 8 neighbours.
    """
    labels, _ = label(lesion, np.ones((3,) * lesion.ndim))
    return tuple(
        Box(tuple(int(edge.start) for edge in edges), tuple(int(edge.stop) - 1 for edge in edges))
        for edges in find_objects(labels)
    )


def _boxes_of_file(path: Path, shape: tuple[int, ...]) -> tuple[Box, ...]:
    *slices, rows, columns = shape
    if slices not in ([], [1]):
        raise ImageReadError(
            f"The boxes {path} belong to a volume of {_size(shape)} voxels, which they cannot describe.",
            "Give a mask in place of the boxes.",
        )
    flat = [box.in_indices(rows, columns) for box in read_boxes(path)]
    return tuple(Box((*(0 for _ in slices), *box.low), (*(0 for _ in slices), *box.high)) for box in flat)


def _size(shape: tuple[int, ...]) -> str:
    """Width first, as image viewers say it."""
    return " x ".join(str(length) for length in reversed(shape[1:] if shape[0] == 1 and len(shape) == 3 else shape))
