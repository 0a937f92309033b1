"""Uploads are written under our own names and never unpack without bound."""

import io
import zipfile
from pathlib import Path

import pytest

from anomalabel.errors import ImageReadError
from monailabel_app.safety.uploads import save_upload

LIMIT = 10_000


def zipped(files: dict[str, bytes]) -> io.BytesIO:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    archive.seek(0)
    return archive


@pytest.mark.parametrize(
    ("name", "written"),
    [("../../etc/x.NII.GZ", "upload.nii.gz"), ("scan.nrrd", "upload.nrrd"), ("a.b.JPEG", "upload.jpeg")],
)
def test_only_the_suffix_of_the_clients_name_is_used(tmp_path: Path, name: str, written: str) -> None:
    path = save_upload(io.BytesIO(b"voxels"), name, tmp_path, LIMIT)
    assert path == tmp_path / written
    assert path.read_bytes() == b"voxels"


@pytest.mark.parametrize("name", ["x.sh", "x", "", "x.nii.exe", "x.nhdr", "x.tar.gz"])
def test_other_kinds_of_file_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageReadError, match="no known kind"):
        save_upload(io.BytesIO(b"voxels"), name, tmp_path, LIMIT)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_upload_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match="empty"):
        save_upload(io.BytesIO(), "x.nii", tmp_path, LIMIT)


def test_a_zipped_series_becomes_a_folder_of_numbered_files(tmp_path: Path) -> None:
    archive = zipped({"../../evil.dcm": b"one", "/abs/two.dcm": b"two"})
    folder = save_upload(archive, "series.zip", tmp_path, LIMIT)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {"000000.dcm": b"one", "000001.dcm": b"two"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["series"]


@pytest.mark.parametrize(
    "archive",
    [
        zipped({"bomb.dcm": bytes(LIMIT + 1)}),
        zipped({"a": bytes(6000), "b": bytes(6000)}),
        zipped({}),
        io.BytesIO(b"PK"),
    ],
    ids=["one large", "large together", "no file", "no archive"],
)
def test_bad_archives_are_refused(tmp_path: Path, archive: io.BytesIO) -> None:
    with pytest.raises(ImageReadError, match="archive"):
        save_upload(archive, "series.zip", tmp_path, LIMIT)
