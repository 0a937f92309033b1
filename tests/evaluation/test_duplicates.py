"""Near-duplicates of shots among test images."""

from __future__ import annotations

import shutil
from io import BytesIO

import nibabel
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from anomalabel.evaluation.cases import EvaluationCase
from anomalabel.evaluation.duplicates import SIMILARITY, find_near_duplicates, thumbprint_of


def texture(seed, shape=(160, 200)):
    """(Y, X) uint8 of a common bright body on black, with structure of its own at the scale of vessels and speckle."""
    rng = np.random.default_rng(seed)
    fine = sum(gaussian_filter(rng.standard_normal(shape), scale) * scale for scale in (2, 4, 8))
    rows, columns = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    body = np.clip(1.2 - rows**2 - columns**2, 0, 1)
    return (np.clip(body * (140 + 60 * fine), 0, 255)).astype(np.uint8)


def saved(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return EvaluationCase(path.name, path, abnormal=False)


def compressed(pixels):
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=25)
    return np.asarray(Image.open(stream))


CHANGES = {
    "compressed": compressed,
    "halved": lambda pixels: np.asarray(Image.fromarray(pixels).resize((100, 80))),
    "squashed": lambda pixels: np.asarray(Image.fromarray(pixels).resize((224, 224))),
    "darker": lambda pixels: (pixels * 0.5).astype(np.uint8),
    "gamma": lambda pixels: (255 * (pixels / 255) ** 0.6).astype(np.uint8),
    "brighter": lambda pixels: np.clip(pixels.astype(int) + 40, 0, 255).astype(np.uint8),
    "shifted": lambda pixels: np.roll(pixels, (4, -6), axis=(0, 1)),
    "mirrored": lambda pixels: pixels[:, ::-1].copy(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_others_are_not(tmp_path, change):
    pixels = texture(0)
    shots = [saved(tmp_path / "shot.png", pixels), saved(tmp_path / "unrelated.png", texture(99))]
    others = [saved(tmp_path / f"other{seed}.png", texture(seed)) for seed in range(1, 6)]
    copy = saved(tmp_path / "copy.png", CHANGES[change](pixels))
    (found,) = find_near_duplicates(shots, [*others, copy])
    assert (found.shot, found.case) == (shots[0], copy)
    assert SIMILARITY < found.similarity <= 1
    assert found.mirrored == (change == "mirrored")


def test_the_same_bytes_are_1_even_without_structure(tmp_path):
    flat = saved(tmp_path / "flat.png", np.full((20, 20), 7, np.uint8))
    shutil.copy(flat.image, tmp_path / "again.png")
    again = EvaluationCase("again.png", tmp_path / "again.png", abnormal=True)
    other = saved(tmp_path / "other.png", np.full((20, 20), 9, np.uint8))
    assert [(pair.case, pair.similarity) for pair in find_near_duplicates([flat], [other, again])] == [(again, 1.0)]


def test_similarity_is_the_correlation_at_the_best_shift(tmp_path):
    shot, case = saved(tmp_path / "a.png", texture(0)), saved(tmp_path / "b.png", np.roll(texture(0), 5, axis=0))
    a, b = thumbprint_of(shot.image).planes[0], thumbprint_of(case.image).planes[0]
    expected = max(
        np.corrcoef(np.roll(side, (rows, columns), (0, 1)).ravel(), b.ravel())[0, 1]
        for side in (a, a[:, ::-1])
        for rows in range(-3, 4)
        for columns in range(-3, 4)
    )
    (found,) = find_near_duplicates([shot], [case], similarity=0.01)
    assert found.similarity == pytest.approx(expected, abs=1e-5)


def test_most_alike_first(tmp_path):
    shot = saved(tmp_path / "shot.png", texture(0))
    near = saved(tmp_path / "near.png", compressed(texture(0)))
    same = saved(tmp_path / "same.png", texture(0))
    found = find_near_duplicates([shot], [near, same])
    assert [pair.case for pair in found] == [same, near]
    assert found[0].similarity == 1.0


def test_volumes_are_compared_with_volumes(tmp_path):
    cases = {}
    for name, seeds in {"a": (0, 1, 2), "b": (0, 1, 2), "c": (3, 4, 5)}.items():
        slices = np.repeat(np.stack([texture(seed, (60, 70)) for seed in seeds]), 2, axis=0).astype(np.float32)
        scaled = slices * (0.5 if name == "b" else 1) + 3
        nibabel.save(nibabel.Nifti1Image(scaled.T, np.eye(4)), tmp_path / f"{name}.nii.gz")
        cases[name] = EvaluationCase(name, tmp_path / f"{name}.nii.gz", abnormal=False)
    flat = saved(tmp_path / "slice.png", texture(1, (60, 70)))
    (found,) = find_near_duplicates([cases["a"]], [cases["b"], cases["c"], flat])
    assert found.case == cases["b"]
    assert found.similarity == pytest.approx(1, abs=1e-3)


def test_unreadable_images_are_passed_over_and_the_cache_is_used(tmp_path):
    shot, copy = saved(tmp_path / "a.png", texture(0)), saved(tmp_path / "b.png", texture(0))
    broken = EvaluationCase("broken.png", tmp_path / "broken.png", abnormal=True)
    broken.image.write_bytes(b"no picture")
    cache = {}
    first = find_near_duplicates([shot, broken], [broken, copy], cache)
    assert set(cache) == {shot.image, copy.image}
    shot.image.unlink()
    assert find_near_duplicates([shot], [copy], cache) == first
    assert len(first) == 1


def test_pixels_without_a_number_do_not_matter(tmp_path):
    plane = np.repeat(texture(0)[None].astype(np.float32), 3, axis=0)
    holed = plane.copy()
    holed[:, :10, :10] = np.nan
    for name, values in (("a", plane), ("b", holed)):
        nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4)), tmp_path / f"{name}.nii.gz")
    whole, part = (EvaluationCase(name, tmp_path / f"{name}.nii.gz", abnormal=False) for name in "ab")
    (found,) = find_near_duplicates([whole], [part])
    assert found.similarity > 0.95


def test_many_shots_are_compared_in_blocks_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr("anomalabel.evaluation.duplicates.SHOTS_AT_ONCE", 3)
    shots = [saved(tmp_path / f"shot{seed}.png", texture(seed, (64, 64))) for seed in range(8)]
    same = [saved(tmp_path / f"same{seed}.png", texture(seed, (64, 64))[:, ::-1]) for seed in (1, 7)]
    other = saved(tmp_path / "other.png", texture(50, (64, 64)))
    told = []
    found = find_near_duplicates(shots, [*same, other], progress=lambda *done: told.append(done))
    assert {(pair.shot.identity, pair.case.identity) for pair in found} == {
        ("shot1.png", "same1.png"),
        ("shot7.png", "same7.png"),
    }
    assert all(pair.mirrored and pair.similarity == pytest.approx(1, abs=1e-5) for pair in found)
    assert told == [(done, 19) for done in (*range(11), 11, 14, 17)]
