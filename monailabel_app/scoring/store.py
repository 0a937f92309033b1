"""The folder of study scores: one small file per image, holding what each task last said of it."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from anomalabel.errors import OutputError
from anomalabel.finding import FindingsReport
from anomalabel.io.write import write_text
from monailabel_app.safety.names import checked_name

logger = logging.getLogger(__name__)

SUFFIX = ".json"
SHOWN_HASH_DIGITS = 12


class StudyScore(BaseModel):
    """What one task said of one study.

    Args:
        image_score: on the method's own scale.
        relative: `image_score` / image threshold: above 1 is abnormal, and methods compare; None where the method is
            not calibrated.
        uncertainty: mean over the findings, None where there is none or the method has no uncertainty.
        findings: how many.
        model: its name and the first digits of its weights' hash, NAME@DIGITS.
        utc: when it was said.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    image_score: float
    relative: float | None
    uncertainty: float | None
    findings: int = Field(ge=0)
    model: str
    utc: datetime

    @classmethod
    def of(cls, report: FindingsReport) -> StudyScore:
        """What a report says, as of now."""
        limit = report.image_threshold.value if report.calibrated and report.image_threshold is not None else 0.0
        spread = [finding.uncertainty for finding in report.findings if finding.uncertainty is not None]
        return cls(
            image_score=report.image_score,
            # A ratio to a threshold that is not above zero would turn the order around.
            relative=report.image_score / limit if limit > 0 else None,
            uncertainty=sum(spread) / len(spread) if spread else None,
            findings=len(report.findings),
            model=f"{report.model.name}@{report.model.weights_sha256[:SHOWN_HASH_DIGITS]}",
            utc=datetime.now(timezone.utc),
        )


_STORED = TypeAdapter(dict[str, StudyScore])


@dataclass(frozen=True)
class _Read:
    """What a file held, and which state of the file that was: time of change in ns, size, inode."""

    state: tuple[int, int, int]
    scores: dict[str, StudyScore]


class ScoreStore:
    """The scores of all studies; may be used from several threads.

    Scores can be computed again: a file that is damaged or cannot be read counts as absent, and the log says so once.

    Args:
        folder: made with the first score.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._change = threading.Lock()
        self._read: dict[str, _Read] = {}
        self._complained: set[str] = set()

    def scores(self, image: str) -> dict[str, StudyScore]:
        """Infer task to what it last said of an image; empty where none did.

        Raises:
            ConfigError: the image's name is no plain name.
        """
        path = self._path(image)
        try:
            found = path.stat()
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            known = self._read.get(image)
            if known is None or known.state != state:
                known = _Read(state, _parsed(path))
                self._read[image] = known
        except (FileNotFoundError, NotADirectoryError):
            self._read.pop(image, None)
            return {}
        except OSError as error:
            self._complain(image, f"cannot be read: {error.strerror}")
            return {}
        return dict(known.scores)

    def note(self, image: str, task: str, score: StudyScore) -> bool:
        """Keep a score in the place of the task's last one.

        Returns:
            whether it was kept; the log says why not.

        Raises:
            ConfigError: the image's name is no plain name.
        """
        path = self._path(image)
        with self._change:
            stored = self.scores(image) | {task: score}
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                write_text(path, _STORED.dump_json(stored, indent=2).decode())
            except (OSError, OutputError) as error:
                self._complain(image, f"cannot be written: {error}")
                return False
        self._complained.discard(image)
        return True

    def _path(self, image: str) -> Path:
        return self._folder / f"{checked_name(image, 'image id')}{SUFFIX}"

    def _complain(self, image: str, reason: str) -> None:
        if image not in self._complained:
            self._complained.add(image)
            logger.warning("The scores of %s: %s", image, reason)


def _parsed(path: Path) -> dict[str, StudyScore]:
    try:
        return _STORED.validate_json(path.read_bytes())
    except ValidationError as error:
        logger.warning("%s/%s holds no scores and counts as absent: %s", path.parent.name, path.name, error)
        return {}
