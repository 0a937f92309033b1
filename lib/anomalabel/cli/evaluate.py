"""`anomalabel evaluate`: how good methods are on images whose truth is known."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.progress import MofNCompleteColumn

from anomalabel.cli.terminal import Device, bar_of, say
from anomalabel.config import EMBEDDED, Method, Saliency
from anomalabel.errors import ConfigError, ImageReadError, writable

if TYPE_CHECKING:
    from anomalabel.evaluation.cases import EvaluationSet
    from anomalabel.evaluation.evaluate import Written

ALL_SHOTS = "all"
INTERRUPTED = 130
NAMED_FAILURES = 3


def evaluate(
    out: Annotated[Path, typer.Option(help="Folder for metrics.json and report.html.", readable=False)],
    config: Annotated[str, typer.Option(help="Name of a shipped config, or a YAML file.")],
    method: Annotated[
        list[str],
        typer.Option(help=f"{', '.join(get_args(Method))}; repeatable, the first is compared with each other one."),
    ],
    normal: Annotated[
        list[Path] | None, typer.Option(help="Folder of healthy images to test on; repeatable.", readable=False)
    ] = None,
    abnormal: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of sick ones, masks beside them as NAME_mask.png; repeatable.", readable=False),
    ] = None,
    healthy: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder to draw shots from; repeatable. Without it they come from --normal and leave the test.",
            readable=False,
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="bmad:FOLDER, bmad:FOLDER:SET or split:FOLDER instead of folders.")
    ] = None,
    shots: Annotated[str, typer.Option(help="Healthy images to learn from: 16, or 4,8,16,32; 0 for none, all.")] = "16",
    saliency: Annotated[
        list[str] | None,
        typer.Option(
            help=f"With --method reconstruction: what marks the region to hide, {', '.join(get_args(Saliency))}; "
            "repeatable, to compare several."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Draws of the shots.")] = 5,
    model: Annotated[str, typer.Option(help="embedded, biomedclip, a pulled name, a folder or timm:NAME.")] = EMBEDDED,
    positive: Annotated[list[str] | None, typer.Option(help="Text for the disease; repeatable.")] = None,
    negative: Annotated[list[str] | None, typer.Option(help="Text for health; repeatable.")] = None,
    patient_pattern: Annotated[
        str | None, typer.Option(help="Regular expression; its group, searched in FOLDER/FILE, names the patient.")
    ] = None,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap over patients.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of draws, noise and bootstrap.")] = 0,
    device: Device = "auto",
) -> None:
    """Write metrics.json and report.html: methods on images whose truth is known.

    Thresholds come from healthy shots alone, never from test images. A run that was stopped goes on where it was when
    the same command is given again.
    """
    from anomalabel.config import parse_settings
    from anomalabel.evaluation.evaluate import evaluate as run_evaluation
    from anomalabel.evaluation.protocol import EvaluationRequest
    from anomalabel.evaluation.saliencies import with_saliencies
    from anomalabel.outputs import check_folder

    values = {
        "config": config,
        "methods": with_saliencies(method, saliency or []),
        "shots": _numbers(shots),
        "all_shots": ALL_SHOTS in shots.split(","),
        "draws": seeds,
        "backbone": model,
        "positive": tuple(positive) if positive else None,
        "negative": tuple(negative) if negative else None,
        "resamples": resamples,
        "seed": seed,
        "device": device,
        "command": shlex.join(["anomalabel", *sys.argv[1:]]),
    }
    request = parse_settings(EvaluationRequest, values, "the command line")
    check_folder(out)
    evaluation_set = _evaluation_set(normal or [], abnormal or [], healthy or [], dataset, patient_pattern)
    with stoppable(out), evaluation_bar() as watch:
        written = run_evaluation(evaluation_set, request, out, watch)
    tell(written)


@contextmanager
def stoppable(out: Path) -> Iterator[None]:
    """Where the user stops the evaluation, say how it goes on, and end with its exit code."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"Stopped. What is finished lies in {out}; the same command goes on from there.", "yellow")
        raise typer.Exit(INTERRUPTED) from None


def tell(written: Written) -> None:
    """Say where the results lie.

    Raises:
        ImageReadError: images are missing from them; names the first.
    """
    say(f"written: {written.metrics} and {written.report}")
    if written.failed:
        named = "; ".join(f"{failed.identity}: {failed.reason}" for failed in written.failed[:NAMED_FAILURES])
        more = len(written.failed) - NAMED_FAILURES
        others = f" and {more} more" if more > 0 else ""
        raise ImageReadError(
            f"{len(written.failed)} images could not be evaluated: {named}{others}.",
            "The results are of the others; metrics.json lists them all under failed.",
        )


def _evaluation_set(
    normal: list[Path], abnormal: list[Path], healthy: list[Path], dataset: str | None, pattern: str | None
) -> EvaluationSet:
    """The images that the options name.

    Raises:
        ConfigError: both or neither of folders and data set are given, or the layout is not known.
        ImageReadError: a file called like an image is none.
    """
    from anomalabel.evaluation.datasets import list_folders, read_dataset

    if dataset is None:
        if not normal and not abnormal:
            raise ConfigError("No images are named.", "Give --normal and --abnormal folders, or a --dataset.")
        return list_folders(normal, abnormal, healthy, pattern)
    if normal or abnormal or healthy or pattern is not None:
        raise ConfigError(
            "A --dataset has its own folders and patients.",
            "Leave --normal, --abnormal, --healthy and --patient-pattern out.",
        )
    return read_dataset(dataset)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part != ALL_SHOTS)
    except ValueError as error:
        raise ConfigError(f"--shots {text} is no list of numbers.", "Give 16, or 4,8,16,32, or all.") from error


@contextmanager
def evaluation_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar, and the watch that moves it; stages follow each other."""
    with bar_of("", MofNCompleteColumn()) as (bar, task):
        last = ""

        def watch(what: str, done: int, total: int) -> None:
            nonlocal last
            if what != last:
                bar.reset(task, description=writable(what), total=total)
                last = what
            bar.update(task, completed=done, total=total)

        yield watch
