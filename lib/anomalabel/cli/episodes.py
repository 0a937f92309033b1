"""`anomalabel train episodes`: learns a start from which few-shot localization adapts in a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import MofNCompleteColumn

from anomalabel.cli.terminal import Device, bar_of, say
from anomalabel.config import EMBEDDED, parse_settings
from anomalabel.errors import ConfigError


def episodes(
    sets: Annotated[
        list[str], typer.Option("--set", help="CONFIG=DIR, healthy images of one anatomy; once for each anatomy.")
    ],
    out: Annotated[Path, typer.Option(help="File for the start; one that is there is replaced.", readable=False)],
    model: Annotated[str, typer.Option(help="embedded, biomedclip, a pulled name or a folder.")] = EMBEDDED,
    shots: Annotated[
        int, typer.Option(min=2, help="Healthy images of each set to learn from; half as many more judge.")
    ] = 8,
    steps: Annotated[int | None, typer.Option(min=1, help="Outer steps.")] = None,
    inner_steps: Annotated[int | None, typer.Option(min=1, help="Steps of adaptation within a task.")] = None,
    inner_rate: Annotated[float | None, typer.Option(help="Rate of adaptation, above 0.")] = None,
    first_order: Annotated[bool, typer.Option("--first-order", help="Leave second derivatives out: faster.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of images, views, tasks and first weights.")] = 0,
    device: Device = "auto",
) -> None:
    """Learn a start for few_shot.episodes.path of a config, from healthy images of several anatomies.

    Tasks are made of them with planted anomalies. The start serves configs with the same head on the same model.
    """
    from anomalabel.backbones.encoders import NamedEncoders
    from anomalabel.learning.episodes import EpisodesTraining, train_episodes
    from anomalabel.learning.healthy_set import list_healthy
    from anomalabel.outputs import check_file, make_folder
    from anomalabel.training.learned_start import save_start

    given = {"steps": steps, "inner_steps": inner_steps, "inner_rate": inner_rate, "first_order": first_order}
    training = {name: value for name, value in given.items() if value is not None}
    values: dict[str, Any] = {"backbone": model, "shots": shots, "seed": seed, "training": training}
    request = parse_settings(EpisodesTraining, values, "the command line")
    named = [_config_and_folder(text) for text in sets]
    check_file(out)
    images = [(config, list_healthy(folder)) for config, folder in named]
    with bar_of("reading", MofNCompleteColumn()) as (bar, task):

        def watch(stage: str, done: int, total: int) -> None:
            bar.update(task, description=stage, completed=done, total=total or None)

        trained = train_episodes(request, images, NamedEncoders(model, device), watch)
    make_folder(out.parent)
    save_start(out, trained.start)
    for line in trained.left_out:
        say(f"left out: {line}", "yellow")
    for warning in trained.warnings:
        say(warning, "yellow")
    for config, healthy in trained.start.origin.sets.items():
        names = ", ".join(image.name for image in healthy)
        say(f"{config}: learned from {len(healthy)} healthy images: {names}")
    found = trained.start.origin.metrics
    say(
        f"loss on {found['held_out_tasks']:.0f} held-out tasks, "
        f"before and after {found['adaptation_steps']:.0f} steps: "
        f"{found['start_loss_before']:.3f} and {found['start_loss_after']:.3f} from the start, "
        f"{found['scratch_loss_before']:.3f} and {found['scratch_loss_after']:.3f} from scratch"
    )
    if found["start_loss_after"] >= found["scratch_loss_after"]:
        say("The start leads NO further than none: learn it in more steps, or leave it out.", "yellow")
    say(f"written: {out}")


def _config_and_folder(text: str) -> tuple[str, Path]:
    config, sign, folder = text.partition("=")
    if not (config and sign and folder):
        raise ConfigError(f"--set {text} is not CONFIG=DIR.", "Name a config and its folder of healthy images.")
    return config, Path(folder)
