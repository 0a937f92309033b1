"""MONAI Label's local datastore over the studies folder, without the ways it loses data.

What differs from `LocalDatastore`: a folder that holds a DICOM series is an image too; every id and tag that
becomes part of a path is checked; the index file is replaced in one step and set aside when an older server left
it damaged; images that were moved away keep their label information until they come back, and uploading one
again keeps it as well. The folder is looked at again when somebody asks, so no watcher thread races with a request.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import ImageLabelModel, LocalDatastore

from anomalabel.errors import writable
from anomalabel.io.dicom_series import is_dicom
from anomalabel.io.write import write_text
from monailabel_app.places import FOLDER_NAME
from monailabel_app.safety.names import checked_name
from monailabel_app.safety.uploads import IMAGE_SUFFIXES, image_suffix

logger = logging.getLogger(__name__)

INDEX_NAME = "datastore_v2.json"
OWN_NAMES = frozenset({"labels", FOLDER_NAME, INDEX_NAME})
SNIFFED_BYTES = 256
FILES_LOOKED_AT = 16


class StudiesDatastore(LocalDatastore):
    """The images of one folder, by id: a file's name without its suffix, or the name of a DICOM series folder.

    Args:
        studies: existing folder.
    """

    def __init__(self, studies: Path) -> None:
        self._change = threading.RLock()
        self._absent: dict[str, ImageLabelModel] = {}
        self._seen: frozenset[tuple[str, int]] = frozenset()
        _set_aside_if_damaged(studies / INDEX_NAME)
        super().__init__(
            str(studies), datastore_config=INDEX_NAME, extensions=[f"*{suffix}" for suffix in IMAGE_SUFFIXES]
        )
        self._seen = self._contents()

    def refresh_if_changed(self) -> None:
        """Look at the folder again when files came or went since the last look."""
        with self._change:
            contents = self._contents()
            if contents != self._seen:
                self.refresh()
                self._seen = contents

    # Under the lock throughout: while another thread looks at the folder again the list of images is empty for a
    # moment, and a review would be refused because its image were not there.

    def list_images(self) -> list[str]:
        """Ids of all images that are there now."""
        with self._change:
            self.refresh_if_changed()
            return list(super().list_images())

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Ids of the images without a final label."""
        with self._change:
            self.refresh_if_changed()
            return list(super().get_unlabeled_images(label_tag, labels))

    def get_image_uri(self, image_id: str) -> str:
        """Path of a file, or of a DICOM series folder; "" where there is no such image.

        Raises:
            ConfigError: the id is no plain name.
        """
        checked_name(image_id, "image id")
        with self._change:
            self.refresh_if_changed()
            return str(super().get_image_uri(image_id))

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """Path of a label file; "" where there is none.

        Raises:
            ConfigError: the id or the tag is no plain name.
        """
        checked_name(label_id, "image id")
        checked_name(label_tag, "label tag")
        with self._change:
            return str(super().get_label_uri(label_id, label_tag))

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What is known of an image; {} where there is none."""
        with self._change:
            return dict(super().get_image_info(image_id))

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to what is known of an image.

        Raises:
            ImageNotFoundException: there is none.
        """
        with self._change:
            super().update_image_info(image_id, info)

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What is known of a label; {} where there is none."""
        with self._change:
            return dict(super().get_label_info(label_id, label_tag))

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to what is known of a label.

        Raises:
            LabelNotFoundException: there is none.
        """
        with self._change:
            super().update_label_info(label_id, label_tag, info)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label's file and what is known of it."""
        with self._change:
            super().remove_label(label_id, label_tag)

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Images and their final labels, as files."""
        with self._change:
            return list(super().datalist(full_path))

    def status(self) -> dict[str, Any]:
        """How many images and labels there are."""
        with self._change:
            return dict(super().status())

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Copy an image into the folder; label information of an image of that id stays.

        Raises:
            ConfigError: the id is no plain name.
        """
        checked_name(image_id, "image id")
        with self._change:
            before = self._datastore.objects.get(image_id)
            added = str(super().add_image(image_id, image_filename, image_info))
            if before is not None:
                self._datastore.objects[image_id].labels.update(before.labels)
                self._update_datastore_file()
            self._seen = self._contents()
        return added

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Copy a label into the folder of its tag.

        Raises:
            ConfigError: the id or the tag is no plain name.
        """
        checked_name(image_id, "image id")
        checked_name(label_tag, "label tag")
        with self._change:
            return str(super().save_label(image_id, label_filename, label_tag, label_info))

    def json(self) -> dict[str, Any]:
        """The whole index without images that are absent, or whose name is no UTF-8 and so no JSON."""
        with self._change:
            self.refresh_if_changed()
            told = dict(super().json())
        told["objects"] = {image: entry for image, entry in told["objects"].items() if writable(image) == image}
        return told

    def refresh(self) -> None:
        """Bring the index in line with the folder."""
        with self._change:
            super().refresh()

    def _contents(self) -> frozenset[tuple[str, int]]:
        """Names in the folder, DICOM folders with their time of change."""
        with os.scandir(self._datastore.image_path()) as entries:
            return frozenset(
                (entry.name, entry.stat().st_mtime_ns if entry.is_dir() else 0)
                for entry in entries
                if entry.name not in OWN_NAMES and not entry.name.startswith(".")
            )

    def _to_id(self, file: str) -> tuple[str, str]:
        suffix = image_suffix(file)
        if not suffix and not (Path(self._datastore.image_path()) / file).is_dir():
            suffix = Path(file).suffix
        return (file[: -len(suffix)], file[-len(suffix) :]) if suffix else (file, "")

    def _list_files(self, path: str, patterns: Iterable[str]) -> dict[str, str]:
        """Images and, at the top of the studies folder, DICOM series folders; `patterns` is MONAI Label's."""
        top = Path(path).resolve() == Path(self._datastore.image_path()).resolve()
        names = sorted(
            entry.name
            for entry in Path(path).iterdir()
            if not entry.name.startswith(".")
            and entry.name not in OWN_NAMES
            and ((entry.is_file() and image_suffix(entry.name)) or (top and is_dicom_folder(entry)))
        )
        return {name: name for name in names}

    def _remove_non_existing(self) -> int:
        """Take entries whose files are gone out of sight; unlike MONAI Label's, they stay in the index file."""
        self._init_from_datastore_file()
        everything = {**self._absent, **self._datastore.objects}
        images = Path(self._datastore.image_path())
        present = {key: value for key, value in everything.items() if (images / f"{key}{value.image.ext}").exists()}
        self._absent = {key: value for key, value in everything.items() if key not in present}
        changed = present.keys() ^ self._datastore.objects.keys()
        for key, entry in present.items():
            gone = [tag for tag, label in entry.labels.items() if not self._label_file(key, tag, label.ext).exists()]
            for tag in gone:
                del entry.labels[tag]
                changed = changed | {key}
        self._datastore.objects.clear()
        self._datastore.objects.update(present)
        return len(changed)

    def _label_file(self, label_id: str, tag: str, suffix: str) -> Path:
        return Path(self._datastore.label_path(tag)) / f"{label_id}{suffix}"

    def _update_datastore_file(self, lock: bool = True) -> None:
        if lock:
            with FileLock(self._lock_file):
                self._write_index()
        else:
            self._write_index()

    def _write_index(self) -> None:
        index = self._datastore.model_dump(exclude={"base_path"})
        index["objects"] = {**{key: value.model_dump() for key, value in self._absent.items()}, **index["objects"]}
        path = Path(self._datastore_config_path)
        # Without indentation, which makes json many times slower: this is written at every label and every served case.
        write_text(path, json.dumps(index, default=str))
        self._config_ts = path.stat().st_mtime


def is_dicom_folder(folder: Path) -> bool:
    """Whether a folder holds DICOM files, judged by the first few."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        files = sorted(entry.path for entry in entries if entry.is_file() and not entry.name.startswith("."))
    return any(_is_dicom_file(Path(file)) for file in files[:FILES_LOOKED_AT])


def _is_dicom_file(file: Path) -> bool:
    with file.open("rb") as content:
        return is_dicom(content.read(SNIFFED_BYTES), file.suffix)


def _set_aside_if_damaged(index: Path) -> None:
    if not index.exists() or _is_json_object(index):
        return
    number = 1
    while (aside := index.with_name(f"{index.name}.damaged-{number}")).exists():
        number += 1
    index.rename(aside)
    logger.warning("%s was damaged and is now %s; labels on disk are indexed again.", index, aside.name)


def _is_json_object(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except ValueError:
        return False
