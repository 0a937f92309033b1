"""The studies folder: what is an image in it, and that nothing known about one gets lost."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pydicom
import pytest
from monailabel.datastore.local import LocalDatastore
from pydicom.data import get_testdata_file

from anomalabel.errors import AnomaLabelError, ConfigError
from monailabel_app.datastore.studies import INDEX_NAME, StudiesDatastore


def label(store: StudiesDatastore, image_id: str, tmp_path: Path) -> None:
    file = tmp_path / "label.nrrd"
    file.write_bytes(b"label voxels")
    store.save_label(image_id, str(file), "final", {"reviewer": "A"})


def series(studies: Path, name: str) -> Path:
    folder = studies / name
    folder.mkdir()
    pydicom.dcmread(get_testdata_file("CT_small.dcm")).save_as(folder / "IM0001")
    return folder


def test_ids_are_file_names_without_their_suffix(studies: Path) -> None:
    for name in ("a.nii.b.nrrd", "X.PNG", "notes.txt", ".hidden.nii", "scan.v2.dcm"):
        (studies / name).write_bytes(b"-")
    store = StudiesDatastore(studies)
    assert sorted(store.list_images()) == ["X", "a.nii.b", "head", "scan.v2"]
    assert store.get_image_uri("a.nii.b") == str(studies / "a.nii.b.nrrd")
    assert store.get_image_uri("X") == str(studies / "X.PNG")


def test_a_dicom_series_folder_is_an_image(studies: Path) -> None:
    folder = series(studies, "1.2.840.10008.5")
    (studies / "papers").mkdir()
    (studies / "papers" / "a.pdf").write_bytes(b"%PDF")
    store = StudiesDatastore(studies)
    assert sorted(store.list_images()) == ["1.2.840.10008.5", "head"]
    assert store.get_image_uri("1.2.840.10008.5") == str(folder)


def test_images_that_come_and_go_are_seen_without_a_restart(studies: Path) -> None:
    store = StudiesDatastore(studies)
    (studies / "late.nrrd").write_bytes(b"-")
    assert sorted(store.list_images()) == ["head", "late"]
    (studies / "late.nrrd").unlink()
    assert store.get_image_uri("late") == ""
    assert store.status()["total"] == 1


def test_label_information_survives_moving_an_image_away_and_back(studies: Path, tmp_path: Path) -> None:
    store = StudiesDatastore(studies)
    label(store, "head", tmp_path)
    (studies / "head.nii.gz").rename(tmp_path / "head.nii.gz")
    assert store.list_images() == []
    restarted = StudiesDatastore(studies)
    assert restarted.list_images() == []
    (tmp_path / "head.nii.gz").rename(studies / "head.nii.gz")
    assert restarted.list_images() == ["head"]
    assert restarted.get_label_info("head", "final")["reviewer"] == "A"


def test_label_information_survives_uploading_an_image_again(studies: Path, tmp_path: Path) -> None:
    store = StudiesDatastore(studies)
    label(store, "head", tmp_path)
    store.add_image("head", _copy(studies, tmp_path), {})
    assert StudiesDatastore(studies).get_label_info("head", "final")["reviewer"] == "A"


def _copy(studies: Path, tmp_path: Path) -> str:
    copy = tmp_path / "copy.nii.gz"
    copy.write_bytes((studies / "head.nii.gz").read_bytes())
    return str(copy)


def test_a_crash_while_the_index_is_written_leaves_the_old_one(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StudiesDatastore(studies)
    label(store, "head", tmp_path)
    before = (studies / INDEX_NAME).read_text()

    def killed(self: Path, target: Path) -> None:
        raise OSError("killed")

    with monkeypatch.context() as crash:
        crash.setattr(Path, "replace", killed)
        with pytest.raises(AnomaLabelError, match="killed"):
            store.update_image_info("head", {"note": "x" * 10_000})
    assert (studies / INDEX_NAME).read_text() == before
    assert StudiesDatastore(studies).get_label_info("head", "final")["reviewer"] == "A"


@pytest.mark.parametrize("damage", ["", '{"objects": {"he', "[]"])
def test_a_damaged_index_is_set_aside_and_labels_are_found_again(studies: Path, tmp_path: Path, damage: str) -> None:
    label(StudiesDatastore(studies), "head", tmp_path)
    (studies / INDEX_NAME).write_text(damage)
    store = StudiesDatastore(studies)
    assert store.get_labels_by_image_id("head") == {"final": "head"}
    assert (studies / f"{INDEX_NAME}.damaged-1").read_text() == damage
    assert set(json.loads((studies / INDEX_NAME).read_text())["objects"]) == {"head"}


def test_the_stock_datastore_can_read_our_index(studies: Path, tmp_path: Path) -> None:
    label(StudiesDatastore(studies), "head", tmp_path)
    stock = LocalDatastore(str(studies), extensions=["*.nii.gz", "*.nrrd"])
    assert stock.get_label_info("head", "final")["reviewer"] == "A"


@pytest.mark.parametrize("name", ["../head", "/etc/passwd", "..", "a/../../b"])
def test_names_that_leave_the_folder_are_refused_everywhere(studies: Path, tmp_path: Path, name: str) -> None:
    store = StudiesDatastore(studies)
    file = _copy(studies, tmp_path)
    for call in (
        lambda: store.get_image_uri(name),
        lambda: store.get_label_uri("head", name),
        lambda: store.get_label_uri(name, "final"),
        lambda: store.add_image(name, file, {}),
        lambda: store.save_label("head", file, name, {}),
        lambda: store.save_label(name, file, "final", {}),
        lambda: store.remove_label("head", name),
    ):
        with pytest.raises(ConfigError):
            call()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["copy.nii.gz", "studies"]


def test_an_image_never_seems_gone_while_another_thread_looks_at_the_folder_again(
    studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(dict[str, Any]):
        """The index, which lets other threads run whenever it is empty."""

        def clear(self) -> None:
            super().clear()
            emptied.set()
            time.sleep(0.1)

    store, emptied, others = StudiesDatastore(studies), threading.Event(), []
    store._datastore.objects = Slow(store._datastore.objects)

    def another_looks() -> None:
        emptied.clear()
        others.append(threading.Thread(target=store.refresh))
        others[-1].start()
        emptied.wait(0.2)

    another_looks()
    store.update_image_info("head", {"seen": True})
    monkeypatch.setattr(store, "refresh_if_changed", another_looks)
    assert store.list_images() == ["head"]
    assert store.get_image_uri("head") == str(studies / "head.nii.gz")
    for other in others:
        other.join()
    assert store.get_image_info("head")["seen"] is True
