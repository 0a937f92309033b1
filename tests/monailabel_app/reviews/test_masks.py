"""Corrected masks: kept once, checked, and found damaged where they are."""

import hashlib
import io
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from anomalabel.errors import ConfigError, ImageReadError, OutputError
from anomalabel.io.label_map import read_label_map
from monailabel_app.reviews.event import Review
from monailabel_app.reviews.masks import MaskStore
from monailabel_app.reviews.store import ReviewStore
from monailabel_app.reviews.verification import verify_all


@pytest.fixture
def masks(tmp_path: Path) -> MaskStore:
    return MaskStore(tmp_path / "reviews" / "masks")


def nifti(studies: Path, value: int = 1) -> tuple[str, bytes]:
    image = nibabel.load(studies / "head.nii.gz")
    voxels = np.zeros(image.shape, np.int16)
    voxels[1, 2, 3] = value
    content = nibabel.Nifti1Image(voxels, image.affine).to_bytes()
    return hashlib.sha256(content).hexdigest(), content


def keep(masks: MaskStore, studies: Path, tmp_path: Path, sha256: str, content: bytes) -> Path:
    workplace = tmp_path / f"work-{len(list(tmp_path.iterdir()))}"
    workplace.mkdir()
    return masks.keep("head", sha256, io.BytesIO(content), studies / "head.nii.gz", workplace)


def test_a_mask_is_kept_as_it_came_under_the_hash_of_its_content(
    masks: MaskStore, studies: Path, tmp_path: Path
) -> None:
    sha256, content = nifti(studies, value=300)
    path = keep(masks, studies, tmp_path, sha256, content)
    assert path == tmp_path / "reviews" / "masks" / "head" / f"{sha256}.nii"
    assert path.read_bytes() == content
    assert masks.find("head", sha256) == masks.require("head", sha256) == path
    assert masks.find("other", sha256) is None
    kept = read_label_map(path)
    assert (kept.labels.dtype, kept.labels[3, 2, 1], np.count_nonzero(kept.labels)) == (np.int16, 300, 1)


def test_the_same_content_is_written_once_and_a_damaged_file_is_put_right(
    masks: MaskStore, studies: Path, tmp_path: Path
) -> None:
    sha256, content = nifti(studies)
    path = keep(masks, studies, tmp_path, sha256, content)
    before = path.stat().st_ino
    assert keep(masks, studies, tmp_path, sha256, content).stat().st_ino == before
    path.write_bytes(content[:-1])
    with pytest.raises(ConfigError, match="damaged"):
        masks.require("head", sha256)
    keep(masks, studies, tmp_path, sha256, content)
    assert masks.require("head", sha256).read_bytes() == content


def test_verification_finds_a_mask_that_is_gone_or_changed(masks: MaskStore, studies: Path, tmp_path: Path) -> None:
    store = ReviewStore(tmp_path / "reviews")
    sha256, content = nifti(studies)
    path = keep(masks, studies, tmp_path, sha256, content)
    store.add("head", Review(reviewer="A", action="segmented", after={"mask_sha256": sha256}))
    (whole,) = verify_all(store, masks)
    assert (whole.events, whole.verified, whole.problem) == (1, True, "")
    path.write_bytes(content.replace(b"n+1", b"ni1"))
    (changed,) = verify_all(store, masks)
    assert (changed.events, changed.verified) == (1, False)
    assert "damaged" in changed.problem
    path.unlink()
    (gone,) = verify_all(store, masks)
    assert "There is no mask" in gone.problem


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "neither NRRD nor NIfTI"), (b"\x89PNG\r\n\x1a\n", "neither"), (b"NRRD0004\ntype: uint8\n", "The mask")],
)
def test_what_is_no_mask_is_refused(
    masks: MaskStore, studies: Path, tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(ImageReadError, match=reason) as refused:
        keep(masks, studies, tmp_path, hashlib.sha256(content).hexdigest(), content)
    assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("sha256", ["", "A" * 64, "a" * 63, "a" * 64 + "\n", "../" + "a" * 61])
def test_addresses_that_are_no_hash_are_refused(masks: MaskStore, sha256: str) -> None:
    with pytest.raises(ConfigError, match="SHA-256"):
        masks.find("head", sha256)
    with pytest.raises(ConfigError, match="image id"):
        masks.find("../head", "a" * 64)


def test_a_full_disk_leaves_no_half_mask(
    masks: MaskStore, studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256, content = nifti(studies)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as crash:
        crash.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=r"cannot be kept: No space left on device\.") as refused:
            keep(masks, studies, tmp_path, sha256, content)
    assert str(tmp_path) not in str(refused.value)
    assert masks.find("head", sha256) is None
    assert list((tmp_path / "reviews" / "masks" / "head").iterdir()) == []
