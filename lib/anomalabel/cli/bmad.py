"""`anomalabel bmad`: the comparison of CLAP's Table 2 on the user's own copy of BMAD."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, get_args

import typer

from anomalabel.cli.evaluate import evaluation_bar, stoppable, tell
from anomalabel.cli.terminal import Device, say
from anomalabel.config import EMBEDDED, Saliency, parse_settings

bmad = typer.Typer(no_args_is_help=True, help="Repeat the published comparison on BMAD.")


@bmad.command("run")
def run(
    name: Annotated[str, typer.Argument(metavar="SET", help="brain, liver, resc, oct2017, chest or histopathology.")],
    data: Annotated[Path, typer.Option(help="Folder of BMAD's sets, unpacked as they are shared.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder for the results, each set's in its own.", readable=False)],
    saliency: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(get_args(Saliency))}; repeatable, all four unless some are named."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each, whose mean and spread are told.")] = 3,
    epochs: Annotated[int | None, typer.Option(help="Instead of the config's.")] = None,
    samples: Annotated[int | None, typer.Option(help="Drawn in an epoch, instead of the config's.")] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Score by the plain error map's maximum, as the paper does.")
    ] = False,
    model: Annotated[str, typer.Option(help="embedded, biomedclip, a pulled name or a folder.")] = EMBEDDED,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap over patients.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the first training, of noise and bootstrap.")] = 0,
    device: Device = "auto",
) -> None:
    """Train on all healthy training images of a set and test on its test images; nothing is tuned.

    Writes metrics.json and report.html into OUT/SET. A run that was stopped goes on where it was when the same command
    is given again.
    """
    from anomalabel.evaluation.bmad_run import BmadRun, run_bmad
    from anomalabel.outputs import check_folder

    values = {
        "key": name,
        **({"saliencies": tuple(saliency)} if saliency else {}),
        "draws": seeds,
        "epochs": epochs,
        "samples": samples,
        "published": published,
        "backbone": model,
        "resamples": resamples,
        "seed": seed,
        "device": device,
        "command": shlex.join(["anomalabel", *sys.argv[1:]]),
    }
    request = parse_settings(BmadRun, values, "the command line")
    check_folder(out)
    with stoppable(out), evaluation_bar() as watch:
        written = run_bmad(request, data, out, watch)
    tell(written)
    say(f"beside the published numbers: anomalabel bmad table {shlex.quote(str(out))}")


@bmad.command("table")
def table(
    results: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders that `bmad run` wrote into.", readable=False)
    ],
    markdown: Annotated[bool, typer.Option("--markdown", help="As a Markdown table.")] = False,
) -> None:
    """Put the published numbers beside the measured ones."""
    from anomalabel.evaluation.bmad_results import read_results
    from anomalabel.evaluation.bmad_table import as_markdown, as_text, compare_with_published

    comparison = compare_with_published(read_results(results))
    say(as_markdown(comparison) if markdown else as_text(comparison))
