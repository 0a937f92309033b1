"""The folder of review events: appended and synced to the disk before anybody is told, never rewritten."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from anomalabel.errors import ConfigError, OutputError
from monailabel_app.reviews.chain import ReviewChain, ReviewsUnreadable, parse_chain, shown
from monailabel_app.reviews.event import Review, ReviewEvent, Verdict, event_of
from monailabel_app.reviews.outcome import CaseOutcome
from monailabel_app.safety.names import checked_name

SUFFIX = ".jsonl"
LOCK_NAME = ".lock"
MAXIMUM_LINE_BYTES = 256 * 1024
FOLDERS_MADE = 3
"""`reviews`, the folder that is ours, and the studies that hold it."""

FileState = tuple[int, int, int, int]
"""Times of change of content and of the entry in ns, size and inode: another state is other content."""


class ReviewStore:
    """One file of events per image; may be used from several threads and processes.

    Args:
        folder: made on the first event.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, image: str, review: Review) -> ReviewEvent:
        """Append an event and return once it is on the disk.

        An event of the same id and content that is there already is returned and not added again. What a crash left
        unfinished is moved to a file beside it, `IMAGE.jsonl.torn-1`, before the next event is written.

        Raises:
            ConfigError: the image's name is no plain name, the event is too long or no JSON, or its id is another
                event's.
            ReviewsDamaged: the chain so far is broken.
            ReviewsUnreadable: it cannot be read.
            OutputError: it cannot be written; the file is as it was.
        """
        path = self._path(image)
        with self._locked(path):
            chain = self._read(path, image)
            for known in chain.events:
                if known.event_id == review.event_id:
                    same = _the_same(known, review)
                    # What wrote it may have ended before it was synced.
                    _sync(path)
                    return same
            event = event_of(review, image, chain.last_sha256)
            line = event.to_line()
            if len(line) > MAXIMUM_LINE_BYTES:
                raise ConfigError(
                    f"The event is {len(line)} bytes long.", f"Send at most {MAXIMUM_LINE_BYTES}; masks go elsewhere."
                )
            if chain.torn:
                _set_aside(path, chain.torn)
            _append(path, line)
        return event

    def chain(self, image: str) -> ReviewChain:
        """The verified events of an image; none where nobody reviewed it.

        Raises:
            ConfigError: the image's name is no plain name.
            ReviewsDamaged: the chain is broken.
            ReviewsUnreadable: it cannot be read.
        """
        path = self._path(image)
        if not path.exists():
            return ReviewChain()
        with self._locked(path):
            return self._read(path, image)

    def case_verdicts(self) -> dict[str, Verdict]:
        """Image id to what its reviewers settled on; images that are not reviewed are left out.

        Raises:
            ReviewsDamaged: a chain is broken.
        """
        outcomes = self._outcomes()
        return {image: one.settled_verdict for image, one in outcomes.items() if one.settled_verdict is not None}

    def doubtful_as_healthy(self) -> frozenset[str]:
        """Ids of the images that no model may learn health from: abnormal ones and those that wait for a reading.

        Raises:
            ReviewsDamaged: a chain is broken.
        """
        return frozenset(image for image, one in self._outcomes().items() if one.doubtful_as_healthy)

    def files(self) -> dict[str, FileState]:
        """Ids of all images that somebody reviewed, in no order, with the state of their files."""
        if not self._folder.is_dir():
            return {}
        with os.scandir(self._folder) as entries:
            return {
                entry.name.removesuffix(SUFFIX): _file_state(entry.stat())
                for entry in entries
                # Other systems leave hidden files beside ours (._head.jsonl); no image has such a name.
                if entry.name.endswith(SUFFIX) and not entry.name.startswith(".")
            }

    def _outcomes(self) -> dict[str, CaseOutcome]:
        return {image: self.chain(image).outcome for image in sorted(self.files())}

    def _path(self, image: str) -> Path:
        return self._folder / f"{checked_name(image, 'image id')}{SUFFIX}"

    def _read(self, path: Path, image: str) -> ReviewChain:
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise ReviewsUnreadable(path, error.strerror) from error
        return parse_chain(content, image, path)

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        """Hold the folder's lock; what goes wrong with the disk inside becomes an OutputError that names `path`."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / LOCK_NAME):
                yield
        except OSError as error:
            raise OutputError(
                f"{shown(path)} cannot be written: {error.strerror}.",
                "Make room on the disk, or give the right to write.",
            ) from error


def _file_state(facts: os.stat_result) -> FileState:
    return facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino


def _the_same(known: ReviewEvent, review: Review) -> ReviewEvent:
    if Review(**known.model_dump(include=set(Review.model_fields))) != review:
        raise ConfigError(f"There is another event of the id {review.event_id}.", "Give each event an id of its own.")
    return known


def _append(path: Path, line: bytes) -> None:
    """Append in one write and sync; where that fails, cut the file back to where it was."""
    is_new = not path.exists()
    # Unbuffered: a buffer would try to write its rest again while the file is cut back.
    with path.open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise
    if is_new:
        # With the folders that may have been made for it, up to the studies.
        for folder in path.parents[:FOLDERS_MADE]:
            sync_folder(folder)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _set_aside(path: Path, torn: bytes) -> None:
    """Move an unfinished last line into a file of its own."""
    number = 1
    while (aside := path.with_name(f"{path.name}.torn-{number}")).exists():
        number += 1
    with aside.open("wb") as file:
        file.write(torn)
        file.flush()
        os.fsync(file.fileno())
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - len(torn))
        os.fsync(file.fileno())
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """A new file's name is on the disk once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
