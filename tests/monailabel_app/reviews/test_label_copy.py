"""MONAI Label's `final` labels follow the reviews, and labels of others are left alone."""

import logging
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from anomalabel.io.read import read_volume
from monailabel_app.reviews.event import Review
from monailabel_app.reviews.label_copy import LabelCopies
from monailabel_app.reviews.labelled_studies import LabelledStudies
from monailabel_app.reviews.masks import MaskStore
from monailabel_app.reviews.standings import Standings
from monailabel_app.reviews.store import ReviewStore

BOX = {"id": "f1", "label": "lesion", "score": 0.5, "index_min": [1, 0, 2], "index_max": [2, 3, 4]}


class Place:
    """Studies, reviews and copies of one folder."""

    def __init__(self, studies: Path) -> None:
        self.folder = studies
        self.reviews = ReviewStore(studies / "anomalabel" / "reviews")
        self.masks = MaskStore(studies / "anomalabel" / "reviews" / "masks")
        self.studies = LabelledStudies(studies)
        self.copies = LabelCopies(self.reviews, Standings(self.reviews), self.masks, self.studies)

    def say(self, action: str, image: str = "head", **values: Any) -> None:
        self.reviews.add(image, Review(**{"reviewer": "A", "action": action, **values}))

    def label(self, image: str = "head") -> np.ndarray:
        return read_volume(Path(self.studies.get_label_uri(image, "final"))).array


@pytest.fixture
def place(studies: Path) -> Any:
    made = Place(studies)
    yield made
    made.copies.close()


def completed(place: Place) -> int:
    """As a server that starts anew counts."""
    assert LabelledStudies(place.folder).status() == place.studies.status()
    count: int = place.studies.status()["completed"]
    return count


def test_accepted_boxes_are_drawn_on_the_images_grid(place: Place) -> None:
    place.say("accepted", finding_id="f1", before=BOX)
    place.say("rejected", finding_id="f2", before={**BOX, "index_min": [0, 0, 0], "index_max": [0, 0, 0]})
    beyond = {**BOX, "id": "f3", "index_min": [4, 5, 6], "index_max": [90, 90, 90]}
    place.say("added", finding_id="f3", after=beyond)
    place.copies.bring_in_line("head")
    assert completed(place) == 0
    place.say("case_abnormal", reviewer="B")
    place.copies.bring_in_line("head")
    assert completed(place) == 1
    expected = np.zeros((7, 6, 5))
    for i in (1, 2):
        for j in (0, 1, 2, 3):
            for k in (2, 3, 4):
                expected[k, j, i] = 1
    expected[6, 5, 4] = 1
    np.testing.assert_array_equal(place.label(), expected)
    label = read_volume(place.folder / "labels" / "final" / "head.nrrd")
    image = nibabel.load(place.folder / "head.nii.gz")
    np.testing.assert_allclose(label.affine_ras, image.affine, atol=1e-5)
    info = place.studies.get_label_info("head", "final")
    assert (info["verdict"], info["reviewer"], info["kind"], info["name"]) == ("abnormal", "B", "boxes", "head.nrrd")
    assert [one["id"] for one in info["findings"]] == ["f1", "f3"]
    assert [(one["user_made"], one["edited"]) for one in info["findings"]] == [(False, False), (True, False)]
    assert info["findings"][0]["index_max"] == [2, 3, 4]


def test_a_normal_image_has_an_empty_label_whatever_was_accepted(place: Place) -> None:
    place.say("accepted", finding_id="f1", before=BOX)
    place.say("case_normal")
    place.copies.bring_in_line("head")
    assert (place.label().shape, place.label().max()) == ((7, 6, 5), 0)
    info = place.studies.get_label_info("head", "final")
    assert (info["verdict"], info["kind"]) == ("normal", "empty")


def test_a_label_goes_when_the_case_is_open_again_and_changes_when_its_boxes_do(place: Place) -> None:
    place.say("accepted", finding_id="f1", before=BOX)
    place.say("case_abnormal")
    place.copies.bring_in_line("head")
    assert place.label().sum() == 2 * 4 * 3
    place.say("edited", finding_id="f1", before=BOX, after={**BOX, "index_max": [1, 0, 2]})
    place.copies.bring_in_line("head")
    assert place.label().sum() == 1
    assert place.studies.get_label_info("head", "final")["findings"][0]["edited"] is True
    place.say("second_reader")
    place.copies.bring_in_line("head")
    assert completed(place) == 0
    assert list((place.folder / "labels" / "final").iterdir()) == []


def test_what_is_in_line_is_not_written_again(place: Place) -> None:
    place.say("case_normal")
    place.copies.bring_in_line("head")
    file = place.folder / "labels" / "final" / "head.nrrd"
    before = file.stat().st_ino, file.stat().st_mtime_ns
    place.say("read_normal", reviewer="B")
    place.copies.bring_in_line("head")
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == before


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
def test_a_label_of_a_stock_client_is_neither_replaced_nor_removed(place: Place, tmp_path: Path, suffix: str) -> None:
    theirs = tmp_path / f"theirs{suffix}"
    theirs.write_bytes(b"their voxels")
    place.studies.save_label("head", str(theirs), "final", {"client": "stock"})
    for action in ("case_normal", "case_reopened"):
        place.say(action)
        place.copies.bring_in_line("head")
        assert Path(place.studies.get_label_uri("head", "final")).read_bytes() == b"their voxels"
        assert place.studies.get_label_info("head", "final")["client"] == "stock"


def test_a_stock_client_takes_our_label_over_by_storing_its_own(place: Place, tmp_path: Path) -> None:
    place.say("case_normal")
    place.copies.bring_in_line("head")
    theirs = tmp_path / "theirs.nrrd"
    theirs.write_bytes(b"their voxels")
    place.studies.save_label("head", str(theirs), "final", {})
    place.say("case_reopened")
    place.copies.bring_in_line("head")
    assert (place.folder / "labels" / "final" / "head.nrrd").read_bytes() == b"their voxels"


def test_a_label_file_that_somebody_put_there_by_hand_stays(place: Place) -> None:
    by_hand = place.folder / "labels" / "final" / "head.nrrd"
    by_hand.write_bytes(b"by hand")
    place.say("case_normal")
    place.copies.bring_in_line("head")
    assert by_hand.read_bytes() == b"by hand"


def test_what_cannot_be_copied_is_logged_and_repaired_at_the_next_start(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.say("case_normal")
    image = place.folder / "head.nii.gz"
    whole = image.read_bytes()
    image.write_bytes(whole[:50])
    with caplog.at_level(logging.WARNING):
        place.copies.after_event("head")
    assert "The final label of head could not be brought in line" in caplog.text
    assert completed(place) == 0
    image.write_bytes(whole)
    restarted = Place(place.folder)
    restarted.copies.repair().result(20)
    restarted.copies.close()
    assert restarted.studies.status()["completed"] == 1


def test_a_disk_that_fails_in_the_last_step_leaves_the_old_label_and_its_information(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.say("case_normal")
    place.copies.bring_in_line("head")
    place.say("added", finding_id="f1", after=BOX)
    place.say("case_abnormal")
    real = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if Path(target).name == "head.nrrd":
            raise OSError(28, "No space left on device")
        return real(self, target)

    with monkeypatch.context() as crash:
        crash.setattr(Path, "replace", failing)
        place.copies.after_event("head")
    assert place.label().max() == 0
    assert place.studies.get_label_info("head", "final")["verdict"] == "normal"
    place.copies.bring_in_line("head")
    assert (place.label().max(), place.studies.get_label_info("head", "final")["verdict"]) == (1, "abnormal")


def test_a_crash_between_index_and_file_is_repaired(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        """The process ends here."""

    def killed(self: Path, target: Path) -> None:
        if Path(target).name == "head.nrrd" and Path(target).parent.name == "final":
            raise Killed
        Path.rename(self, target)

    place.say("case_normal")
    with monkeypatch.context() as crash:
        crash.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            place.copies.bring_in_line("head")
    (place.folder / "labels" / "final" / ".copy-left").mkdir()
    restarted = Place(place.folder)
    assert restarted.studies.status()["completed"] == 0
    restarted.copies.repair().result(20)
    restarted.copies.close()
    assert restarted.studies.status()["completed"] == 1
    assert [path.name for path in (place.folder / "labels" / "final").iterdir()] == ["head.nrrd"]


def test_a_copy_of_an_image_whose_reviews_are_gone_is_removed_at_the_start(place: Place) -> None:
    place.say("case_normal")
    place.copies.bring_in_line("head")
    (place.folder / "anomalabel" / "reviews" / "head.jsonl").unlink()
    place.copies.repair().result(20)
    assert completed(place) == 0


def test_a_damaged_chain_leaves_its_label_as_it_was(place: Place) -> None:
    place.say("case_normal")
    place.copies.bring_in_line("head")
    file = place.folder / "anomalabel" / "reviews" / "head.jsonl"
    file.write_bytes(b"{}\n")
    place.copies.repair().result(20)
    assert completed(place) == 1


def test_a_crash_while_a_label_is_replaced_leaves_no_old_voxels_under_new_information(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The process ends here."""

    def killed(self: Path, target: Path) -> None:
        if Path(target).name == "head.nrrd" and Path(target).parent.name == "final":
            raise Killed
        Path.rename(self, target)

    place.say("case_normal")
    place.copies.bring_in_line("head")
    place.say("added", finding_id="f1", after=BOX)
    place.say("case_abnormal")
    with monkeypatch.context() as crash:
        crash.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            place.copies.bring_in_line("head")
    restarted = Place(place.folder)
    restarted.copies.repair().result(20)
    restarted.copies.close()
    assert restarted.studies.get_label_info("head", "final")["verdict"] == "abnormal"
    assert restarted.label().sum() == 2 * 4 * 3


def test_our_label_file_goes_when_a_stock_client_stores_one_of_another_format(place: Place, tmp_path: Path) -> None:
    place.say("case_normal")
    place.copies.bring_in_line("head")
    theirs = tmp_path / "theirs.nii.gz"
    theirs.write_bytes(b"their voxels")
    place.studies.save_label("head", str(theirs), "final", {})
    assert [path.name for path in (place.folder / "labels" / "final").iterdir()] == ["head.nii.gz"]
    place.studies.remove_label("head", "final")
    assert completed(place) == 0


def test_a_client_that_sends_our_information_back_does_not_make_its_label_ours(place: Place, tmp_path: Path) -> None:
    place.say("case_normal")
    place.copies.bring_in_line("head")
    info = dict(place.studies.get_label_info("head", "final"))
    theirs = tmp_path / "theirs.nrrd"
    theirs.write_bytes(b"their voxels")
    place.studies.save_label("head", str(theirs), "final", info)
    place.studies.update_label_info("head", "final", info)
    place.say("case_reopened")
    place.copies.bring_in_line("head")
    assert (place.folder / "labels" / "final" / "head.nrrd").read_bytes() == b"their voxels"
