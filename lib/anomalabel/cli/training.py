"""What trainings on a folder of healthy images share: the bar, the names to leave out, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import MofNCompleteColumn

from anomalabel.cli.terminal import bar_of, say, terminal
from anomalabel.errors import ConfigError

if TYPE_CHECKING:
    from anomalabel.learning.training_report import TrainingReport

NAMED = 32
"""Images that were learned from, up to which each is named; as many as a few-shot training has."""


@contextmanager
def stages() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for a training that tells its stages: what is being done, how much of it is done, and how much there is.

    Time passed and time left are the stage's own. Without a terminal each stage is said once.
    """
    with bar_of("reading", MofNCompleteColumn()) as (bar, task):
        told: list[str] = []

        def watch(stage: str, done: int, total: int) -> None:
            if told[-1:] != [stage]:
                # Otherwise the speed of the stage before would be taken for this one's.
                bar.reset(task)
            if stage not in told and not terminal.is_terminal:
                say(stage)
            told[:] = [*(name for name in told if name != stage), stage]
            bar.update(task, description=stage, completed=done, total=total or None)

        yield watch


def require_named(images: Sequence[Path], abnormal: Sequence[str]) -> None:
    """Raise ConfigError where a name means no image: a sick one would be learned from."""
    from anomalabel.learning.healthy_set import is_named

    for name in abnormal:
        if not any(is_named(image, frozenset({name})) for image in images):
            raise ConfigError(f"--abnormal {name} names no image of the folders.", "Give a file's name or its path.")


def say_report(report: TrainingReport, out: Path) -> None:
    """What was left out and learned from, what a reader must know, how good it is, and where it lies."""
    for one in report.left_out:
        say(f"left out: {one.image}: {one.reason}", "yellow")
    for warning in report.warnings:
        say(warning, "yellow")
    more = f" and {len(report.images) - NAMED} more" if len(report.images) > NAMED else ""
    say(f"learned from {report.shots_used} healthy images: {', '.join(report.images[:NAMED])}{more}")
    for rule in report.thresholds.values():
        say(f"threshold, {rule}")
    for name, value in report.metrics.items():
        say(f"{name}: {value:.3f}")
    say(f"written: {out}")
