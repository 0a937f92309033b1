"""The acts of readers on this computer's disk: kept before anything else happens, until the server has each."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from .event import ReviewEvent
from .folder_lock import folder_lock
from .journal_error import journal_error
from .journal_index import JournalIndex
from .journal_lines import REFUSED, SENT, Act, Mark, Refusal, act_of, line_of, parse_line
from .line_file import LineFile, write_whole

ACTS_NAME = "acts.jsonl"
REFUSED_NAME = "refused.jsonl"
MASKS_NAME = "masks"
PATIENCE_S = 2.0
"""A folder is held for milliseconds; the window stands still that long at most, twice where acts are being sent."""

SETTLED_BEFORE_COMPACTION = 2000


@dataclass(frozen=True)
class QueuedAct:
    """An act that the server does not have yet.

    Args:
        mask_path: of the mask that it names, None where it names none.
    """

    event: ReviewEvent
    mask_path: Path | None = None

    @property
    def mask(self) -> bytes | None:
        """The content of the mask's file, None where there is none."""
        if self.mask_path is None or not self.mask_path.exists():
            return None
        return self.mask_path.read_bytes()


@dataclass(frozen=True)
class RefusedAct:
    """An act that the server will not take, its words, and when it said them."""

    event: ReviewEvent
    reason: str
    refused_utc: datetime


class Journal:
    """A queue in a folder, for several threads and several processes.

    Nothing is read before it is asked for. Every method raises JournalError where the folder cannot be read or
    written.

    Args:
        folder: made on the first act.
        patience_s: how long another process may hold the folder.
    """

    def __init__(self, folder: Path, patience_s: float = PATIENCE_S) -> None:
        self._folder = Path(folder)
        self._patience_s = patience_s
        self._mutex = threading.RLock()
        self._acts_file = LineFile(self._folder / ACTS_NAME)
        self._refused_file = LineFile(self._folder / REFUSED_NAME)
        self._index = JournalIndex()
        self._refusals: dict[str, Refusal] = {}
        self._spoilt_refusals: list[bytes] = []
        self._open_case: tuple[str, str] = ("", "")
        self._compact_above = SETTLED_BEFORE_COMPACTION

    def append(self, server: str, event: ReviewEvent, mask: bytes | None = None) -> None:
        """Keep an act; on return it is on the disk. One that is there already is not added again.

        Args:
            server: address of the server that it is for.
            mask: content of the file whose SHA-256 a `segmented` event names.

        Raises:
            JournalError: it cannot be kept, and is not; the journal is as it was.
            ValueError: the mask is another than the event names.
        """
        act = act_of(server, event)
        if mask is not None and hashlib.sha256(mask).hexdigest() != act.mask_sha256:
            raise ValueError(f"{event.event_id} names another mask")
        with self._held():
            if event.event_id in self._index.acts:
                return
            if mask is not None:
                path = self._mask_path(act)
                path.parent.mkdir(exist_ok=True)
                write_whole(path, mask)
            self._acts_file.append(line_of(act))
            self._index.take(act)
            self._open_case = (server, event.image)

    def pending(self, server: str) -> tuple[QueuedAct, ...]:
        """The acts that a server does not have yet, in the order in which they were kept."""
        with self._up_to_date():
            acts = self._index.waiting(server)
            return tuple(QueuedAct(act.event, self._mask_path(act)) for act in acts if act.event is not None)

    def waiting(self) -> dict[str, int]:
        """How many acts wait, by the address of their server."""
        with self._up_to_date():
            return self._index.counts()

    def refused(self, server: str) -> tuple[RefusedAct, ...]:
        """The acts that a server will not take, oldest first."""
        with self._up_to_date():
            refusals = [each for each in self._refusals.values() if each.act.server == server]
        return tuple(
            RefusedAct(each.act.event, each.reason, each.refused_utc) for each in refusals if each.act.event is not None
        )

    def events(self, server: str, image: str) -> tuple[ReviewEvent, ...]:
        """The acts on an image, sent or not, in the order in which they were kept; refused ones are left out.

        Those of a case that was done with long ago, and that the server has, may be gone from here.
        """
        with self._up_to_date():
            self._open_case = (server, image)
            acts = [act for act in self._index.of_case(server, image) if act.event_id not in self._refusals]
            return tuple(act.event for act in acts if act.event is not None)

    def acknowledge(self, event_id: str) -> None:
        """The server has an act. Where this word gets lost the act is sent again, and the server counts it once."""
        with self._held():
            act = self._index.settle(event_id)
            if act is not None:
                self._acts_file.append(line_of(Mark(SENT, event_id)), synced=False)
                self._drop_mask(act)
                if self._index.settled_count() > self._compact_above:
                    self._compact()

    def refuse(self, event_id: str, reason: str) -> None:
        """The server will not take an act: it leaves the queue and stays on disk, with its mask.

        Args:
            reason: the server's words.
        """
        with self._held():
            act = self._index.acts.get(event_id)
            if act is None or not self._index.is_waiting(act):
                return
            refusal = Refusal(act, reason, datetime.now(timezone.utc))
            self._refused_file.append(line_of(refusal))
            self._refusals[event_id] = refusal
            self._index.settle(event_id)
            self._acts_file.append(line_of(Mark(REFUSED, event_id)))

    def requeue(self, server: str) -> int:
        """Put the acts that a server refused back into the queue, in their order and with their masks.

        Whenever this is cut short, each of them is refused still or waits, never both.

        Returns:
            How many wait again; 0 where none was refused.
        """
        with self._held():
            again = {
                event_id: refusal.act
                for event_id, refusal in self._refusals.items()
                if refusal.act.server == server and refusal.act.event is not None
            }
            if not again:
                return 0
            left = {event_id: refusal for event_id, refusal in self._refusals.items() if event_id not in again}
            lines = self._index.lines(self._open_case, tuple(again.values()))
            self._acts_file.replace(lines)
            # Until this second file is replaced, what stands in both counts as refused.
            self._refused_file.replace([*self._spoilt_refusals, *map(line_of, left.values())])
            self._refusals = left
            self._take_anew(lines)
            return len(again)

    def compact(self) -> None:
        """Drop the acts that the server has, but for those of the case that was last asked for or acted on."""
        with self._held():
            self._compact()

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the folder against other threads and processes, with everything read that they wrote."""
        with self._mutex:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                with folder_lock(self._folder, self._patience_s):
                    self._read()
                    yield
            except OSError as error:
                raise journal_error(error, self._folder) from error

    @contextmanager
    def _up_to_date(self) -> Iterator[None]:
        with self._mutex:
            files = (self._acts_file, self._refused_file)
            if self._folder.exists() and not all(file.is_unchanged() for file in files):
                with self._held():
                    pass
            yield

    def _read(self) -> None:
        from_start, lines = self._acts_file.read()
        if from_start and self._index.acts and not self._acts_file.exists():
            # Somebody removed the file under a running panel: what it still holds goes back to disk.
            lines = self._index.lines(self._open_case)
            self._acts_file.replace(lines)
        if from_start:
            self._index = JournalIndex()
        for line in lines:
            self._index.take_line(line)
        self._read_refusals()
        if from_start:
            # A crash between the two files leaves a refused act waiting in the other.
            for event_id in self._refusals:
                self._index.settle(event_id)
            if self._index.settled_count() > self._compact_above:
                self._compact()

    def _read_refusals(self) -> None:
        from_start, lines = self._refused_file.read()
        if from_start and self._refused_file.exists():
            # Another program put some back into the queue.
            self._refusals, self._spoilt_refusals = {}, []
        for line in lines:
            refusal = parse_line(line)
            if isinstance(refusal, Refusal):
                self._refusals.setdefault(refusal.act.event_id, refusal)
            else:
                self._spoilt_refusals.append(line)

    def _take_anew(self, lines: list[bytes]) -> None:
        self._index = JournalIndex()
        for line in lines:
            self._index.take_line(line)

    def _compact(self) -> None:
        # Where there is no room for the shorter file the longer one does as well.
        with suppress(OSError):
            lines = self._index.lines(self._open_case)
            self._acts_file.replace(lines)
            self._take_anew(lines)
            self._drop_orphans()
        self._compact_above = self._index.settled_count() + SETTLED_BEFORE_COMPACTION

    def _mask_path(self, act: Act) -> Path | None:
        name = act.mask_sha256
        return None if name is None else self._folder / MASKS_NAME / name

    def _drop_mask(self, act: Act) -> None:
        path = self._mask_path(act)
        if path is not None and path.name not in self._masks_needed():
            path.unlink(missing_ok=True)

    def _drop_orphans(self) -> None:
        """Remove what a crash between two writes left behind."""
        needed = self._masks_needed()
        for path in (*self._folder.glob("*.new"), *(self._folder / MASKS_NAME).glob("*")):
            if path.name not in needed:
                path.unlink(missing_ok=True)

    def _masks_needed(self) -> set[str | None]:
        acts = [*self._index.all_waiting(), *(refusal.act for refusal in self._refusals.values())]
        return {act.mask_sha256 for act in acts}
