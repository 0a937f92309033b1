"""`anomalabel train`: everything that learns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import MofNCompleteColumn, TextColumn

from anomalabel.cli.episodes import episodes
from anomalabel.cli.language_adapter import language_adapter
from anomalabel.cli.reconstruction import reconstruction
from anomalabel.cli.terminal import Device, bar_of, say
from anomalabel.cli.training import require_named, say_report, stages
from anomalabel.config import EMBEDDED, parse_settings

train = typer.Typer(no_args_is_help=True, help="Train a model.")
train.command("language-adapter")(language_adapter)
train.command("episodes")(episodes)
train.command("reconstruction")(reconstruction)


@train.command("few-shot")
def few_shot(
    healthy: Annotated[list[Path], typer.Option(help="Folder of healthy images; repeatable.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder for the model; an older one stays in use until the end.")],
    config: Annotated[str, typer.Option(help="Name of a shipped config, or a YAML file.")] = "brain_mri",
    shots: Annotated[int, typer.Option(help="Healthy images to learn from, 4 to 32 as a rule.")] = 16,
    model: Annotated[str, typer.Option(help="embedded, biomedclip, a pulled name or a folder.")] = EMBEDDED,
    epochs: Annotated[int | None, typer.Option(help="Instead of the config's.")] = None,
    abnormal: Annotated[list[str] | None, typer.Option(help="Name of an image to leave out; repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="Of shots, views and weights.")] = 0,
    device: Device = "auto",
) -> None:
    """Learn from a few healthy images where others depart from them."""
    from anomalabel.backbones.encoders import NamedEncoders
    from anomalabel.learning.few_shot import FewShotTraining, train_few_shot
    from anomalabel.learning.healthy_set import list_healthy

    values = {"config": config, "backbone": model, "shots": shots, "seed": seed, "epochs": epochs}
    request = parse_settings(FewShotTraining, values, "the command line")
    images = [image for folder in healthy for image in list_healthy(folder)]
    require_named(images, abnormal or [])
    with stages() as watch:
        report = train_few_shot(request, images, out, NamedEncoders(model, device), watch, frozenset(abnormal or ()))
    say_report(report, out)


@train.command("embedded")
def train_embedded_model(
    manifest: Annotated[Path, typer.Option(help="CSV: image, mask, boxes, anatomy, modality, condition, part.")],
    out: Annotated[Path, typer.Option(help="Folder for the model; an interrupted training there goes on.")],
    teacher: Annotated[
        str | None, typer.Option(help="timm network whose features are distilled first: NAME, or NAME@WEIGHTS_FILE.")
    ] = None,
    distil_steps: Annotated[int | None, typer.Option(min=0, help="Steps of distilling, with --teacher.")] = None,
    text_steps: Annotated[int | None, typer.Option(min=0, help="Steps of the texts alone.")] = None,
    align_steps: Annotated[int | None, typer.Option(min=0, help="Steps of images and texts together.")] = None,
    leave_out: Annotated[str | None, typer.Option(help="Anatomy whose images are left out, to be judged on.")] = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Train the small image-text model that ships with the package."""
    from anomalabel.backbones.device import choose_device
    from anomalabel.backbones.timm_features import TimmFeatures
    from anomalabel.outputs import check_folder
    from anomalabel.training.embedded import train_embedded
    from anomalabel.training.manifest import load_training_images
    from anomalabel.training.plan import PLAN
    from anomalabel.training.settings import EmbeddedTraining

    check_folder(out)
    where = choose_device(device)
    steps = {"distil_steps": distil_steps, "text_steps": text_steps, "align_steps": align_steps}
    given: dict[str, Any] = {name: count for name, count in steps.items() if count is not None}
    settings = EmbeddedTraining(seed=seed, **given)
    network = None
    if teacher is not None:
        name, _, weights = teacher.partition("@")
        network = TimmFeatures(name, Path(weights) if weights else None).to(where)
        network.eval().requires_grad_(False)
    with bar_of("reading", MofNCompleteColumn()) as (bar, task):
        images = load_training_images(manifest, lambda done, total: bar.update(task, completed=done, total=total))
    plan = PLAN
    if leave_out is not None:
        images, plan = images.without(leave_out), PLAN.without(leave_out)
    with bar_of("training", TextColumn("{task.fields[losses]}"), losses="") as (bar, task):

        def show(phase: str, part: float, losses: dict[str, float]) -> None:
            text = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
            bar.update(task, completed=part, total=1.0, losses=f"{phase}: {text}")

        train_embedded(images, out, settings, show, network, plan, device)
    say(f"written: {out}")
