"""Keeping MONAI Label's `final` labels in line with the reviews, so that its own count of finished images is true.

The events are the truth and the label is a copy: what goes wrong here is logged, costs no review, and is put right at
the image's next event and when the server starts.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from anomalabel.errors import AnomaLabelError
from anomalabel.io.label_map import LabelArray, read_label_map, write_label_map
from monailabel_app.reviews.label_content import label_info, label_kind, rasterise
from monailabel_app.reviews.labelled_studies import LabelledStudies
from monailabel_app.reviews.masks import MaskStore, image_grid
from monailabel_app.reviews.outcome import CaseOutcome
from monailabel_app.reviews.standings import Standings
from monailabel_app.reviews.store import ReviewStore

logger = logging.getLogger(__name__)

PATIENCE_S = 2.0
"""How long the answer to an event waits for its copy: long enough to be true, never long enough to be in the way."""

UNFINISHED = ".copy-"


class LabelCopies:
    """Writes and removes the copies on threads of its own.

    Args:
        store: the events.
        standings: of the images.
        masks: that reviewers sent.
        studies: where the copies go.
    """

    def __init__(self, store: ReviewStore, standings: Standings, masks: MaskStore, studies: LabelledStudies) -> None:
        self._store = store
        self._standings = standings
        self._masks = masks
        self._studies = studies
        self._one_at_a_time = threading.Lock()
        self._closed = threading.Event()
        # One thread for the long repair at the start, and one that is free for events meanwhile.
        self._executor = ThreadPoolExecutor(2, thread_name_prefix="label-copies")

    def after_event(self, image: str) -> None:
        """Bring the copy of an image in line, and wait a little for it; never fails."""
        if not self._closed.is_set():
            wait([self._submit(image)], timeout=PATIENCE_S)

    def repair(self) -> Future[None]:
        """Bring all copies in line in the background, as after a crash."""
        work = self._executor.submit(self._repair)
        work.add_done_callback(_log_fault)
        return work

    def close(self) -> None:
        """Finish the copy that is being written and start no other."""
        self._closed.set()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def bring_in_line(self, image: str) -> None:
        """Write, replace or remove the copy of one image, as its events say now.

        Raises:
            AnomaLabelError: the events, the image or its mask cannot be read, or the copy not be written.
            OSError: the disk failed.
        """
        with self._one_at_a_time:
            outcome = self._store.chain(image).outcome
            if outcome.state != "reviewed":
                self._studies.remove_copy(image)
                return
            info, known = label_info(outcome), self._studies.copy_info(image)
            if known is not None and all(known.get(key) == value for key, value in info.items()):
                return
            if self._studies.has_foreign_label(image):
                logger.info("%s has a final label of somebody else, which stays.", image)
                return
            source = self._studies.get_image_uri(image)
            if source:
                self._write(image, Path(source), outcome)

    def _write(self, image: str, source: Path, outcome: CaseOutcome) -> None:
        grid = image_grid(source)
        folder = self._studies.copies_folder
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder) as unfinished:
            file = Path(unfinished) / "label.nrrd"
            labels = self._corrected(image, outcome)
            if labels is None:
                boxes = outcome.accepted if label_kind(outcome) == "boxes" else ()
                labels = rasterise(boxes, grid, image)
            write_label_map(file, labels, grid.affine_ras)
            self._studies.put_copy(image, file, label_info(outcome))

    def _corrected(self, image: str, outcome: CaseOutcome) -> LabelArray | None:
        if outcome.segmentation is None or label_kind(outcome) != "segmentation":
            return None
        return read_label_map(self._masks.require(image, outcome.segmentation.mask_sha256)).labels

    def _submit(self, image: str) -> Future[None]:
        work = self._executor.submit(self._logged, image)
        work.add_done_callback(_log_fault)
        return work

    def _repair(self) -> None:
        with self._one_at_a_time:
            for leftover in self._studies.copies_folder.glob(f"{UNFINISHED}*"):
                shutil.rmtree(leftover, ignore_errors=True)
        there = set(self._studies.list_images())
        reviewed = {image for image, one in self._standings.all().items() if one.state == "reviewed"}
        for image in sorted((reviewed | self._studies.images_with_copy()) & there):
            if self._closed.is_set():
                return
            self._logged(image)

    def _logged(self, image: str) -> None:
        try:
            self.bring_in_line(image)
        except (AnomaLabelError, OSError) as error:
            logger.warning("The final label of %s could not be brought in line with its review: %s", image, error)


def _log_fault(work: Future[None]) -> None:
    error = None if work.cancelled() else work.exception()
    if error is not None:
        logger.error("Label copies failed.", exc_info=error)
