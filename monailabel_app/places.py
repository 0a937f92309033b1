"""Where things lie: the studies, and in them the one folder that is ours."""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER_NAME = "anomalabel"


def is_remote(studies: str) -> bool:
    """Whether MONAI Label was pointed at a picture archive instead of a folder."""
    return studies.startswith(("http://", "https://"))


def studies_folder(studies: str) -> Path:
    """The studies folder as a path."""
    return Path(studies).expanduser().resolve()


def own_folder(studies: str) -> Path:
    """Where models, reviews and scores of a studies folder lie; for a picture archive, a folder of this user's."""
    if is_remote(studies):
        return Path.home() / ".cache" / FOLDER_NAME / hashlib.sha256(studies.encode()).hexdigest()[:16]
    return studies_folder(studies) / FOLDER_NAME


def models_folder(studies: str, method: str) -> Path:
    """The trained models of one method."""
    return own_folder(studies) / "models" / method


def reviews_folder(studies: str) -> Path:
    """The files of review events."""
    return own_folder(studies) / "reviews"


def masks_folder(studies: str) -> Path:
    """The corrected masks that review events name."""
    return reviews_folder(studies) / "masks"


def training_status_file(studies: str) -> Path:
    """What the last training was and how it ended."""
    return own_folder(studies) / "training.json"


def scores_folder(studies: str) -> Path:
    """The files of what methods said of studies."""
    return own_folder(studies) / "scores"


def scoring_status_file(studies: str) -> Path:
    """What the last scoring was and how it ended."""
    return own_folder(studies) / "scoring.json"
