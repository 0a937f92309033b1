"""The studies folder with room for our own copies of what reviewers decided, beside labels that others store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from monailabel.datastore.local import DataModel, ImageLabelModel

from anomalabel.errors import AnomaLabelError
from monailabel_app.datastore.studies import StudiesDatastore
from monailabel_app.safety.names import checked_name
from monailabel_app.safety.uploads import IMAGE_SUFFIXES

TAG = "final"
COPY_SUFFIX = ".nrrd"
OWN_SOURCE = "anomalabel reviews"
"""In a label's information: it is our copy. A client that stores a label replaces the information, this mark too."""


class LabelledStudies(StudiesDatastore):
    """The studies; a `final` label that is not ours is never touched by the methods of this class."""

    @property
    def copies_folder(self) -> Path:
        """Where label files of the tag `final` lie."""
        return Path(self._datastore.label_path(TAG))

    def images_with_copy(self) -> frozenset[str]:
        """Ids of the images whose `final` label is ours."""
        self.refresh_if_changed()
        with self._change:
            return frozenset(image for image in self._datastore.objects if self.copy_info(image) is not None)

    def copy_info(self, image_id: str) -> dict[str, Any] | None:
        """The information of our copy; None where there is no `final` label, or another's."""
        entry = self._entry(image_id)
        label = None if entry is None else entry.labels.get(TAG)
        return label.info if label is not None and label.info.get("source") == OWN_SOURCE else None

    def has_foreign_label(self, image_id: str) -> bool:
        """Whether somebody else's `final` label is known or lies in the folder."""
        entry = self._entry(image_id)
        if entry is not None and TAG in entry.labels:
            return self.copy_info(image_id) is None
        return any((self.copies_folder / f"{image_id}{suffix}").exists() for suffix in IMAGE_SUFFIXES)

    def put_copy(self, image_id: str, file: Path, info: dict[str, Any]) -> bool:
        """Take a label file as our copy, in the place of our last one.

        Args:
            image_id: of an image.
            file: NRRD on the disk, in a temporary folder on the same file system; moved.
            info: what is told of it.

        Returns:
            False, and nothing is done, where the image is gone or somebody else's label is there.

        Raises:
            AnomaLabelError: the id is no plain name, or the index cannot be written.
            OSError: the file cannot be moved.
        """
        name = f"{checked_name(image_id, 'image id')}{COPY_SUFFIX}"
        with self._change:
            self.refresh_if_changed()
            entry = self._entry(image_id)
            if entry is None or self.has_foreign_label(image_id):
                return False
            before, target, aside = entry.labels.get(TAG), self.copies_folder / name, file.with_name(f"old-{name}")
            told = {**info, "source": OWN_SOURCE, "ts": int(time.time()), "name": name}
            entry.labels[TAG] = DataModel(info=told, ext=COPY_SUFFIX)
            try:
                # The old file away, then the index: a crash before the new file is there leaves an entry that the next
                # start drops. Otherwise it would leave new information on old voxels, or a file that nobody knows to
                # be ours.
                if before is not None and target.exists():
                    target.rename(aside)
                self._update_datastore_file()
                file.replace(target)
            except (AnomaLabelError, OSError):
                self._put_back(entry, before)
                if aside.exists():
                    aside.rename(target)
                raise
        return True

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Copy somebody else's label into the folder of its tag; our copy makes room for a `final` one.

        Raises:
            ConfigError: the id or the tag is no plain name.
        """
        with self._change:
            ours = label_tag == TAG and self.copy_info(image_id) is not None
            saved = super().save_label(image_id, label_filename, label_tag, _not_ours(label_info))
            entry = self._entry(image_id)
            if ours and entry is not None and entry.labels[TAG].ext != COPY_SUFFIX:
                # Left there, it would be taken for a label once theirs is removed.
                self._label_file(image_id, TAG, COPY_SUFFIX).unlink(missing_ok=True)
        return saved

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to what is known of a label, which makes no label ours.

        Raises:
            LabelNotFoundException: there is none.
        """
        super().update_label_info(label_id, label_tag, _not_ours(info))

    def remove_copy(self, image_id: str) -> bool:
        """Remove our copy; False, and nothing is done, where there is none.

        Raises:
            AnomaLabelError: the index cannot be written.
            OSError: the file cannot be removed.
        """
        with self._change:
            entry = self._entry(image_id)
            if entry is None or self.copy_info(image_id) is None:
                return False
            self._label_file(image_id, TAG, entry.labels[TAG].ext).unlink(missing_ok=True)
            del entry.labels[TAG]
            self._update_datastore_file()
        return True

    def _entry(self, image_id: str) -> ImageLabelModel | None:
        with self._change:
            return self._datastore.objects.get(image_id)

    def _put_back(self, entry: ImageLabelModel, before: DataModel | None) -> None:
        if before is None:
            entry.labels.pop(TAG, None)
        else:
            entry.labels[TAG] = before


def _not_ours(info: dict[str, Any]) -> dict[str, Any]:
    """Information without our mark, which a client may have read from a copy and sent back."""
    return {key: value for key, value in (info or {}).items() if (key, value) != ("source", OWN_SOURCE)}
