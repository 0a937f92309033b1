"""The door: what is told by content, and what is refused at once."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from anomalabel.errors import ImageReadError
from anomalabel.io import limits
from anomalabel.io.read import read_volume


def test_missing_file(tmp_path):
    with pytest.raises(ImageReadError, match="does not exist"):
        read_volume(tmp_path / "none.nii.gz")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.dcm", "a.nrrd", "a.png", "a.jpg", "a.tif", "a"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ImageReadError, match="is empty"):
        read_volume(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nii", "a.dcm", "a.nrrd", "a.png", "a.jpg", "a.tif", "a.docx", "a"])
@pytest.mark.parametrize("content", [b"hello", bytes(2000), bytes(range(256)) * 9])
def test_unknown_content(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageReadError):
        read_volume(tmp_path / name)


def test_content_counts_more_than_the_name(tmp_path):
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").array[0], np.arange(12).reshape(3, 4))


def test_memory_bound_counts_the_file_and_its_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "available_memory_bytes", lambda: 600)
    limits.require_memory(100, 2, tmp_path)
    with pytest.raises(ImageReadError, match="claims 101 voxels"):
        limits.require_memory(101, 2, tmp_path)
