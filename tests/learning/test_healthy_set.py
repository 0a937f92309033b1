"""Which images are learned from: the same for the same folder, each once, none that is abnormal, damaged or odd."""

from __future__ import annotations

import hashlib
import shutil

import nibabel
import numpy as np
import pytest
from PIL import Image

from anomalabel.errors import Cancelled, ConfigError, ImageReadError, ModelError
from anomalabel.io.read import read_volume
from anomalabel.learning.healthy_set import LeftOut, choose_healthy, every_healthy, list_healthy, without_odd_ones
from anomalabel.learning.odd_ones import ImageFacts


def picture(path, value, shape=(6, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    return [picture(tmp_path / "healthy" / f"{number}.png", 10 * number + 5) for number in range(12)]


def reasons(healthy):
    return {one.path.name: one.reason for one in healthy.left_out}


def test_the_order_is_that_of_a_hash_of_seed_and_content(pictures):
    def rank(path):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        return hashlib.sha256(f"7\n{content}".encode()).digest()

    healthy = choose_healthy(pictures, 4, 7)
    expected = sorted(pictures, key=rank)
    assert healthy.chosen == tuple(expected[:4])
    assert [file.path for file in healthy.spare] == expected[4:]
    assert healthy.images[0].sha256 == hashlib.sha256(expected[0].read_bytes()).hexdigest()
    assert healthy.left_out == ()


def test_names_places_and_order_change_nothing(pictures, tmp_path):
    moved = []
    for number, path in enumerate(reversed(pictures)):
        (tmp_path / "moved").mkdir(exist_ok=True)
        moved.append(shutil.copy(path, tmp_path / "moved" / f"scan_{number}.png"))
    here, there = choose_healthy(pictures, 5, 0), choose_healthy(moved, 5, 0)
    assert [file.sha256 for file in here.images] == [file.sha256 for file in there.images]
    assert choose_healthy(pictures, 3, 0).chosen == here.chosen[:3]
    assert choose_healthy(pictures, 5, 1).chosen != here.chosen


def test_the_same_image_twice_counts_once(pictures):
    copy = pictures[0].parent / "copy.png"
    shutil.copy(pictures[3], copy)
    healthy = choose_healthy([*pictures, copy, pictures[5]], 12, 0)
    assert sorted(healthy.chosen) == sorted(pictures[:3] + pictures[4:] + [pictures[3]])
    assert healthy.left_out == (
        LeftOut(copy, "it is the same image as 3.png"),
        LeftOut(pictures[5], "it is the same image as 5.png"),
    )


@pytest.mark.parametrize("name", ["4", "4.png", "whole path"])
def test_abnormal_images_and_their_copies_are_left_out_and_named(pictures, name):
    copy = pictures[0].parent / "0_copy.png"
    shutil.copy(pictures[4], copy)
    named = str(pictures[4]) if name == "whole path" else name
    healthy = choose_healthy([*pictures, copy], 11, 0, frozenset({named, "not there"}))
    assert not {copy, pictures[4]} & set(healthy.chosen)
    assert reasons(healthy) == {
        "4.png": "it is named as abnormal",
        "0_copy.png": "it is a copy of 4.png, which is named as abnormal",
    }


def test_images_whose_mask_or_boxes_mark_disease_are_left_out(pictures):
    folder = pictures[0].parent
    picture(folder / "1_mask.png", 255)
    picture(folder / "2_mask.png", 0)
    (folder / "3.txt").write_text("0 0.5 0.5 0.1 0.2\n1 0.1 0.1 0.05 0.05\n")
    (folder / "5.txt").write_text("")
    (folder / "6.txt").write_text("No finding. 2 views.")
    healthy = choose_healthy(list_healthy(folder), 10, 0)
    assert reasons(healthy) == {"1.png": "its mask 1_mask.png marks disease", "3.png": "its boxes 3.txt mark disease"}
    assert {path.name for path in healthy.chosen} == {f"{number}.png" for number in (0, 2, 4, *range(5, 12))}


def test_unreadable_images_are_left_out_with_their_reason(pictures, tmp_path):
    pictures[2].write_bytes(b"no picture")
    missing = tmp_path / "missing.png"
    healthy = choose_healthy([*pictures, missing], 11, 0)
    assert "none of the known contents" in reasons(healthy)["2.png"]
    assert "No such file" in reasons(healthy)["missing.png"]
    assert len(healthy.chosen) == 11


def test_only_as_many_are_read_as_are_needed(pictures):
    read = []

    def refuse_the_first(path):
        read.append(path)
        if len(read) == 1:
            raise ImageReadError("It is constant.", "")

    healthy = choose_healthy(pictures, 3, 0, read=refuse_the_first)
    assert len(read) == 4
    assert healthy.left_out == (LeftOut(read[0], "It is constant."),)
    assert healthy.chosen == tuple(read[1:])


@pytest.mark.parametrize("error", [Cancelled(), ModelError("It is broken.", "")])
def test_what_is_no_fault_of_an_image_ends_the_choice(pictures, error):
    def fail(*_):
        raise error

    with pytest.raises(type(error)):
        choose_healthy(pictures, 3, 0, read=fail)
    with pytest.raises(type(error)):
        choose_healthy(pictures, 3, 0, progress=fail)


def test_progress_counts_to_the_end(pictures):
    told = []
    choose_healthy(pictures[:3], 1, 0, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_too_few_say_how_many_and_why(pictures):
    pictures[0].write_bytes(b"no picture")
    with pytest.raises(ConfigError) as raised:
        choose_healthy(pictures[:5], 4, 0, frozenset({"1", "2"}))
    assert raised.value.cause.startswith("2 healthy images can be learned from, and 4 shots are wanted. Left out: ")
    assert "1.png: it is named as abnormal; 2.png: it is named as abnormal; 0.png: " in raised.value.cause
    assert raised.value.remedy == "Ask for at most 2 shots, or give more healthy images."
    with pytest.raises(ConfigError, match=r"0 healthy images .* Give more healthy images\."):
        choose_healthy([], 4, 0)
    with pytest.raises(ConfigError, match=r"; and 7 more\."):
        choose_healthy(pictures, 1, 0, frozenset(map(str, range(12))))
    with pytest.raises(ConfigError, match="0 shots"):
        choose_healthy(pictures, 0, 0)


def test_listing_passes_over_masks_and_takes_volumes(tmp_path):
    picture(tmp_path / "b" / "2.png", 3)
    picture(tmp_path / "b" / "2_mask.png", 0)
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6), np.float32), np.eye(4)), tmp_path / "a.nii.gz")
    (tmp_path / "README.txt").write_text("healthy")
    assert list_healthy(tmp_path) == (tmp_path / "a.nii.gz", tmp_path / "b" / "2.png")


class Looking:
    """Means of pictures as features, with noise that has many directions; counts what it looked at."""

    def __init__(self):
        self.looked = []

    def __call__(self, paths):
        self.looked.append(tuple(paths))
        volumes = [read_volume(path) for path in paths]
        noise = np.stack([np.random.default_rng(int(one.array.mean())).standard_normal(40) for one in volumes])
        bright = np.array([one.array.mean() > 200 for one in volumes])
        return noise + 30 * bright[:, None], [ImageFacts(one.shape) for one in volumes]


def test_odd_ones_are_replaced_by_spare_ones(tmp_path):
    plain = [picture(tmp_path / f"{number}.png", number + 1) for number in range(14)]
    odd = [picture(tmp_path / f"bright_{number}.png", 240 + number) for number in range(3)]
    look = Looking()
    drawn = choose_healthy([*plain, *odd], 12, 1)
    assert set(odd) & set(drawn.chosen)
    healthy, report = without_odd_ones(drawn, look)
    assert len(healthy.images) == 12
    assert set(healthy.chosen) <= set(plain)
    met = {path for looked in look.looked for path in looked} & set(odd)
    assert {one.path for one in healthy.left_out} == met
    assert all("times as far from the others as is usual" in one.reason for one in healthy.left_out)
    assert [path for path in drawn.chosen if path in plain] == list(healthy.chosen)[
        : 12 - len(set(odd) & set(drawn.chosen))
    ]
    assert report.odd == ()
    assert len(report.distances) == 12


def test_few_shots_are_compared_among_more_images(tmp_path):
    plain = [picture(tmp_path / f"{number}.png", number + 1) for number in range(14)]
    look = Looking()
    drawn = choose_healthy(plain, 2, 0)
    healthy, report = without_odd_ones(drawn, look)
    assert len(look.looked[0]) == len(report.distances) == 8
    assert healthy == drawn


def test_odd_ones_that_cannot_be_replaced_are_an_error(tmp_path):
    plain = [picture(tmp_path / f"{number}.png", number + 1) for number in range(7)]
    odd = picture(tmp_path / "bright.png", 250)
    with pytest.raises(ConfigError, match=r"7 healthy .* 8 shots.*bright\.png: it is .* times as far.*at most 7 shots"):
        without_odd_ones(choose_healthy([*plain, odd], 8, 0), Looking())


def test_another_size_is_left_out(tmp_path):
    plain = [picture(tmp_path / f"{number}.png", number + 1) for number in range(7)]
    large = picture(tmp_path / "large.png", 9, (60, 80))
    healthy, _ = without_odd_ones(choose_healthy([*plain, large], 7, 0), Looking())
    assert sorted(healthy.chosen) == plain
    assert reasons(healthy) == {"large.png": "it has 80 x 60 pixels, the others about 8 x 6"}


def silent(done, total):
    """Nobody watches."""


def test_every_usable_image_in_the_order_of_the_draw(tmp_path):
    plain = [picture(tmp_path / f"{number}.png", number + 1) for number in range(14)]
    odd = [picture(tmp_path / f"bright_{number}.png", 240 + number) for number in range(3)]
    copy = tmp_path / "copy.png"
    shutil.copy(plain[3], copy)
    torn = picture(tmp_path / "torn.png", 77)
    torn.write_bytes(b"no picture")
    look, read, told = Looking(), [], []
    healthy, report = every_healthy(
        [*plain, *odd, copy, torn],
        8,
        1,
        frozenset({"5"}),
        lambda path: read.append(path) or read_volume(path),
        look,
        lambda done, total: told.append((done, total)),
    )
    expected = [path for path in plain if path.name != "5.png"]
    assert list(healthy.chosen) == list(choose_healthy(expected, 13, 1).chosen)
    assert set(reasons(healthy)) == {"5.png", "copy.png", "torn.png", *(path.name for path in odd)}
    assert all("times as far from the others as is usual" in reasons(healthy)[path.name] for path in odd)
    # Each is read once, and all are compared once: there is always an outermost one.
    assert sorted(read) == sorted([*expected, *odd, torn])
    assert [sorted(paths) for paths in look.looked] == [sorted([*expected, *odd])]
    assert {report.odd[number].number for number in range(3)} == {look.looked[0].index(path) for path in odd}
    assert healthy.spare == ()
    assert told[-1] == (19, 19)


@pytest.mark.parametrize(("fewest", "odd"), [(13, 0), (8, 6), (1, 12)])
def test_too_few_of_all_images_say_why(pictures, fewest, odd):
    for number in range(odd):
        pictures[number].write_bytes(b"no picture")
    look = Looking()
    left = 12 - odd
    with pytest.raises(ConfigError) as raised:
        every_healthy(pictures, fewest, 0, frozenset(), read_volume, look, silent)
    assert raised.value.cause.startswith(
        f"{left} healthy images can be learned from, and at least {fewest} are needed."
    )
    assert ("Left out: " in raised.value.cause) == (odd > 0)
    assert raised.value.remedy == "Give more healthy images."
    assert look.looked == []


def test_odd_ones_count_as_missing(tmp_path):
    plain = [picture(tmp_path / f"{number}.png", number + 1) for number in range(8)]
    odd = picture(tmp_path / "bright.png", 250)
    with pytest.raises(
        ConfigError, match=r"^8 healthy .* at least 9 are needed\. Left out: bright\.png: it is .* times"
    ):
        every_healthy([*plain, odd], 9, 0, frozenset(), read_volume, Looking(), silent)
    kept, _ = every_healthy([*plain, odd], 8, 0, frozenset(), read_volume, Looking(), silent)
    assert sorted(kept.chosen) == plain


@pytest.mark.parametrize("error", [Cancelled(), ModelError("It is broken.", "")])
def test_what_is_no_fault_of_an_image_ends_the_reading_of_all(pictures, error):
    def fail(path):
        raise error

    with pytest.raises(type(error)):
        every_healthy(pictures, 8, 0, frozenset(), fail, Looking(), silent)
