"""The hash of an image is that of its contents, and of all of them."""

from __future__ import annotations

import hashlib

import pytest

from anomalabel.errors import ImageReadError
from anomalabel.io.content import content_sha256


def test_a_file_has_the_hash_that_other_programs_give_it(tmp_path):
    content = bytes(range(256)) * 8192
    (tmp_path / "a.png").write_bytes(content)
    (tmp_path / "b.nii.gz").write_bytes(content)
    assert (
        content_sha256(tmp_path / "a.png")
        == hashlib.sha256(content).hexdigest()
        == content_sha256(tmp_path / "b.nii.gz")
    )


def test_a_folder_is_its_files_whatever_they_are_called(tmp_path):
    for name, files in {"one": {"1": b"x", "2": b"y"}, "two": {"b": b"x", "a": b"y"}, "three": {"1": b"x"}}.items():
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_bytes(content)
    hashes = [content_sha256(tmp_path / name) for name in ("one", "two", "three")]
    both = sorted(hashlib.sha256(content).hexdigest() for content in (b"x", b"y"))
    assert hashes[0] == hashes[1] == hashlib.sha256("\n".join(both).encode()).hexdigest()
    assert hashes[2] == hashlib.sha256(b"x").hexdigest()


def test_a_pair_is_both_of_its_files(tmp_path):
    for name, voxels in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / f"{name}.hdr").write_bytes(b"the same header")
        (tmp_path / f"{name}.img").write_bytes(voxels)
    hashes = [content_sha256(tmp_path / name) for name in ("a.hdr", "b.hdr", "c.hdr", "a.img")]
    assert hashes[0] == hashes[2] == hashes[3] != hashes[1]


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(ImageReadError, match="No such file"):
        content_sha256(tmp_path / "missing.png")
