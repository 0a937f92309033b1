"""The calls that let the server learn, and score its studies, in the background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import PanelError
from .calls import Calls, quoted
from .training import TrainingFacts, parse_training


class _NothingThereError(PanelError):
    """Nothing runs or ran; never leaves this file."""

    def __init__(self, words: str) -> None:
        super().__init__(words, "")


class TrainingCalls(Calls):
    """Trainings and scorings: one of each at a time."""

    def training(self) -> TrainingFacts | None:
        """The training that runs or ran last, None where there was none."""
        return self._asked("GET", "/train/")

    def start_training(self, task: str, params: Mapping[str, Any]) -> TrainingFacts:
        """Start a training; returns at once.

        Args:
            task: one of the server's `trainers`.
            params: such as `config` and `healthy`; the server says which it knows.

        Raises:
            RequestRefusedError: another one runs, or the request cannot be met.
        """
        return self._started("/train/", task, params)

    def cancel_training(self) -> TrainingFacts | None:
        """Stop the running training at its next step; None where none runs."""
        return self._asked("DELETE", "/train/")

    def scoring(self) -> TrainingFacts | None:
        """The scoring that runs or ran last, None where there was none."""
        return self._asked("GET", "/scoring/")

    def start_scoring(self, task: str, params: Mapping[str, Any]) -> TrainingFacts:
        """Let a method look at the studies, for the order of the worklist; returns at once.

        Args:
            task: that detects.
            params: as for a run, and `images`: "unscored" or "all".

        Raises:
            RequestRefusedError: another one runs, or the request cannot be met.
        """
        return self._started("/scoring/", task, params)

    def cancel_scoring(self) -> TrainingFacts | None:
        """Stop the running scoring after the study it is at; None where none runs."""
        return self._asked("DELETE", "/scoring/")

    def _asked(self, method: str, path: str) -> TrainingFacts | None:
        try:
            return parse_training(self._transport.json(method, path, refusals={404: _NothingThereError}))
        except _NothingThereError:
            return None

    def _started(self, path: str, task: str, params: Mapping[str, Any]) -> TrainingFacts:
        return parse_training(self._transport.json("POST", f"{path}{quoted(task)}", body=dict(params)))
