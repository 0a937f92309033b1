"""Lesions and boxes of a case."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from anomalabel.errors import ImageReadError
from anomalabel.evaluation.cases import Box, EvaluationCase
from anomalabel.evaluation.datasets.truth import boxes_of_parts, load_lesion, load_true_boxes, read_truth
from anomalabel.io.mask import read_mask


def case_of(tmp_path, abnormal=True, mask=None, boxes=None):
    if mask is not None:
        Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "a_mask.png")
    if boxes is not None:
        (tmp_path / "a.txt").write_text(boxes)
    return EvaluationCase(
        "a.png",
        tmp_path / "a.png",
        abnormal,
        None if mask is None else tmp_path / "a_mask.png",
        None if boxes is None else tmp_path / "a.txt",
    )


def parts_by_flooding(lesion):
    """Slow reference: boxes of parts whose members touch, corners included."""
    left, found = {tuple(int(step) for step in index) for index in np.argwhere(lesion)}, set()
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            index = edge.pop()
            part.add(index)
            near = {other for other in left if max(abs(a - b) for a, b in zip(index, other, strict=True)) <= 1}
            left -= near
            edge.extend(near)
        found.add((tuple(map(min, zip(*part, strict=True))), tuple(map(max, zip(*part, strict=True)))))
    return found


@settings(deadline=None)
@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=3, max_side=9)))
def test_boxes_of_parts_against_flooding(lesion):
    boxes = boxes_of_parts(lesion)
    assert {(box.low, box.high) for box in boxes} == parts_by_flooding(lesion)
    assert len(boxes) == len(set(boxes))


def test_a_mask_and_its_parts(tmp_path):
    mask = np.zeros((6, 8), np.uint8)
    mask[1, 1], mask[2, 2], mask[4, 5:7] = 255, 1, 255
    truth = read_truth(case_of(tmp_path, mask=mask), (6, 8))
    np.testing.assert_array_equal(truth.lesion, mask > 0)
    assert set(truth.boxes) == {Box((1, 1), (2, 2)), Box((4, 5), (4, 6))}
    deep = read_truth(case_of(tmp_path, mask=mask), (1, 6, 8))
    assert deep.lesion.shape == (1, 6, 8)
    assert Box((0, 4, 5), (0, 4, 6)) in deep.boxes


def test_a_box_file_goes_before_the_parts_of_the_mask(tmp_path):
    mask = np.zeros((10, 10), np.uint8)
    mask[0, 0] = 255
    case = case_of(tmp_path, mask=mask, boxes="0 0.5 0.5 0.4 0.2\n")
    truth = read_truth(case, (10, 10))
    assert truth.lesion.sum() == 1
    assert truth.boxes == (Box((4, 3), (5, 6)),)
    assert load_true_boxes(case, None, (1, 10, 10)) == (Box((0, 4, 3), (0, 5, 6)),)


def test_healthy_unknown_and_empty(tmp_path):
    healthy = read_truth(case_of(tmp_path, abnormal=False, mask=np.full((3, 4), 255)), (3, 4))
    assert not healthy.lesion.any()
    assert healthy.lesion.shape == (3, 4)
    assert healthy.boxes == ()
    unknown = read_truth(case_of(tmp_path), (3, 4))
    assert unknown.lesion is unknown.boxes is None
    boxed = read_truth(case_of(tmp_path, boxes="0 0.5 0.5 1 1\n"), (3, 4))
    assert boxed.lesion is None
    assert boxed.boxes == (Box((0, 0), (2, 3)),)
    empty = read_truth(case_of(tmp_path, mask=np.zeros((3, 4))), (3, 4))
    assert empty.lesion is not None
    assert not empty.lesion.any()
    assert empty.boxes == ()


def test_a_mask_of_another_size_names_both(tmp_path):
    case = case_of(tmp_path, mask=np.zeros((6, 8)))
    with pytest.raises(ImageReadError, match=r"a_mask\.png has 8 x 6 pixels and its image .*a\.png 8 x 5"):
        load_lesion(case, (5, 8))


def test_a_volume(tmp_path):
    stored = np.zeros((4, 5, 6), np.uint8)
    stored[1, 2, 3] = stored[2, 3, 4] = 1
    nibabel.save(nibabel.Nifti1Image(stored, np.eye(4)), tmp_path / "m.nii.gz")
    case = EvaluationCase("a", tmp_path / "a.nii.gz", True, tmp_path / "m.nii.gz")
    truth = read_truth(case, (6, 5, 4))
    assert truth.lesion.sum() == 2
    assert truth.boxes == (Box((3, 2, 1), (4, 3, 2)),)
    boxed = case_of(tmp_path, boxes="0 0.5 0.5 1 1\n")
    with pytest.raises(ImageReadError, match="belong to a volume of 4 x 5 x 6"):
        load_true_boxes(boxed, None, (6, 5, 4))


def test_the_ripples_of_a_jpeg_are_no_lesion(tmp_path):
    drawn = np.zeros((64, 64), np.uint8)
    drawn[20:41, 19:38] = 255
    Image.fromarray(drawn).save(tmp_path / "m.jpg", quality=75)
    assert (np.asarray(Image.open(tmp_path / "m.jpg")) > 0).sum() > 450
    np.testing.assert_array_equal(read_mask(tmp_path / "m.jpg")[0], drawn > 0)
