"""The command line: thin, since every command is a function of the library."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn
from rich.table import Table
from rich.text import Text

from anomalabel import __version__
from anomalabel.cli.bmad import bmad
from anomalabel.cli.evaluate import evaluate
from anomalabel.cli.explain import explain
from anomalabel.cli.ontology import ontology
from anomalabel.cli.serve import serve, token
from anomalabel.cli.terminal import Device, bar_of, say, terminal
from anomalabel.cli.train import train
from anomalabel.config import BIOMEDCLIP, EMBEDDED, DetectionRequest, ExtraMap, Method, parse_settings
from anomalabel.errors import AnomaLabelError, ImageReadError, writable

BAD_INPUT = 2
DEBUG = "--debug"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
models = typer.Typer(no_args_is_help=True, help="Image-text models: list, pull, check.")
app.command()(evaluate)
app.add_typer(models, name="models")
app.add_typer(train, name="train")
app.add_typer(ontology, name="ontology")
app.add_typer(bmad, name="bmad")
app.command()(explain)
app.command()(serve)
app.command()(token)


class PlanesName(str, Enum):
    """Which slices of a volume are looked at."""

    acquisition = "acquisition"
    all = "all"


@app.callback(invoke_without_command=True)
def common(
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error; may stand anywhere.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and end.")] = False,
) -> None:
    """AnomaLabel shows where a medical image departs from health. Not for clinical use."""
    if version:
        terminal.print(__version__)
        raise typer.Exit


@app.command()
def detect(
    images: Annotated[list[Path], typer.Argument(help="Image files or DICOM folders.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder for heatmaps, findings and overlays.", readable=False)],
    config: Annotated[str, typer.Option(help="Name of a shipped config, or a YAML file.")] = "brain_mri",
    method: Annotated[str, typer.Option(help=", ".join(get_args(Method)))] = "clap",
    healthy: Annotated[
        list[Path] | None, typer.Option(help="Folder of healthy images, for methods that learn from them; repeatable.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="embedded, biomedclip, a pulled name or a folder; a trained model's with few_shot and reconstruction."
        ),
    ] = EMBEDDED,
    positive: Annotated[list[str] | None, typer.Option(help="Text for the disease; repeatable.")] = None,
    negative: Annotated[list[str] | None, typer.Option(help="Text for health; repeatable.")] = None,
    planes: Annotated[PlanesName | None, typer.Option(help="Slices of a volume.")] = None,
    threshold_sd: Annotated[float | None, typer.Option(help="Findings lie above mean + this many sd.")] = None,
    minimum_volume_mm3: Annotated[float | None, typer.Option(help="Smaller findings are dropped.")] = None,
    samples: Annotated[int | None, typer.Option(help="Noise samples of the attention.")] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Map to write beside the heatmap, of reconstruction: {', '.join(get_args(ExtraMap))}; repeatable."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    series: Annotated[str | None, typer.Option(help="Series UID, where a DICOM folder holds several.")] = None,
    device: Device = "auto",
) -> None:
    """Write STEM.heatmap.nrrd, STEM.findings.json and STEM.overlay.png for each image.

    With --extra also STEM.saliency.nrrd, what decided where to look, or STEM.reconstruction.nrrd, what the model
    believes healthy looks like in [0, 1], and STEM.reconstruction.png, which shows them side by side.
    """
    from anomalabel.explain.overlay import verdict
    from anomalabel.io.listing import list_images
    from anomalabel.outputs import check_folder, check_stems, output_paths, write_result
    from anomalabel.pipeline import DetectionPipeline

    values = {
        "config": config,
        "method": method,
        "backbone": model,
        "positive": tuple(positive) if positive else None,
        "negative": tuple(negative) if negative else None,
        "planes": planes.value if planes else None,
        "threshold_sd": threshold_sd,
        "minimum_volume_mm3": minimum_volume_mm3,
        "samples": samples,
        "extra_maps": tuple(extra or ()),
        "seed": seed,
    }
    request = parse_settings(DetectionRequest, values, "the command line")
    check_stems(images)
    check_folder(out)
    pipeline = DetectionPipeline(device)
    learnt = [listed.image for folder in healthy or [] for listed in list_images(folder)]
    refused: list[ImageReadError] = []
    with _slices_bar() as watch:
        detector = pipeline.detector(request, learnt, watch("healthy images"))
        for image in images:
            try:
                result = pipeline.detect(image, request, watch(image.name), series, detector)
            except ImageReadError as error:
                refused.append(error)
                if len(images) > 1:
                    say(f"{image.name}: not read, the others go on.", "red")
                continue
            paths = output_paths(out, image)
            write_result(result, paths)
            report = result.report
            say(f"{report.image}: {verdict(report)}; {len(report.findings)} findings, {paths.overlay}")
            for warning in report.warnings:
                say(f"  {warning}", "yellow")
    if refused:
        causes = " ".join(error.cause for error in refused)
        raise ImageReadError(causes, refused[0].remedy)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = Path("demo_output"),
    device: Device = "auto",
) -> None:
    """Plant a lesion into a real head, ask a server about it, and write a page that shows the answer."""
    from anomalabel.demo.run import run_demo

    run_demo(out, device=device, console=terminal)


@models.command("list")
def models_list() -> None:
    """Show the models that can be named."""
    from anomalabel.backbones.check import list_models

    table = Table("name", "where")
    for listed in list_models():
        where = str(listed.folder or "not pulled: anomalabel models pull " + listed.name)
        table.add_row(Text(listed.name), Text(where, overflow="fold"))
    terminal.print(table)


@models.command("pull")
def models_pull(
    name: Annotated[str, typer.Argument(help="biomedclip, or OWNER/NAME of an open_clip model.")] = BIOMEDCLIP,
    source: Annotated[
        Path | None, typer.Option("--from", help="Folder copied from a machine with network.", readable=False)
    ] = None,
    stored_as: Annotated[str | None, typer.Option("--as", help="Name to store it under.")] = None,
) -> None:
    """Fetch a model from the hub, or take a copied folder."""
    from anomalabel.backbones.hub import pull_model

    with terminal.status(f"Pulling {name}"):
        folder = pull_model(name, source, stored_as)
    say(f"{folder.name}: {folder}")


@models.command("check")
def models_check(name: Annotated[str, typer.Argument()] = EMBEDDED, device: Device = "auto") -> None:
    """Load a model, run it, and show what it is."""
    from anomalabel.backbones.check import check_model

    facts = check_model(name, device)
    table = Table("fact", "value")
    for fact, value in vars(facts).items():
        table.add_row(fact, Text(f"{value:.3g}" if isinstance(value, float) else str(value), overflow="fold"))
    terminal.print(table)


def main() -> None:
    """Entry point: exit code 2 and one line for bad input, a traceback only with --debug."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app([argument for argument in sys.argv[1:] if argument != DEBUG])
    except AnomaLabelError as error:
        if DEBUG in sys.argv:
            traceback.print_exc()
        # Of processes that train together all but the first are quiet, and yet may fail alone.
        where = f"error in process {os.environ['RANK']}: " if terminal.quiet else "error: "
        message = Text.assemble((where, "red"), " ".join(str(error).split()))
        Console(stderr=True).print(message, soft_wrap=True)
        sys.exit(BAD_INPUT)


@contextmanager
def _slices_bar() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    with bar_of("", MofNCompleteColumn()) as (bar, task):

        def watch(name: str) -> Callable[[int, int], None]:
            bar.reset(task, description=writable(name), total=None)
            return lambda done, total: bar.update(task, completed=done, total=total)

        yield watch
