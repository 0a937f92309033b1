"""`anomalabel train reconstruction`: a U-Net that restores hidden regions the way healthy images look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from anomalabel.cli.terminal import INTERRUPTED, Device, say, terminal
from anomalabel.cli.training import require_named, say_report, stages
from anomalabel.config import EMBEDDED, Saliency, parse_settings


def reconstruction(
    healthy: Annotated[list[Path], typer.Option(help="Folder of healthy images; repeatable.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder for the model; an interrupted training there goes on.")],
    config: Annotated[str, typer.Option(help="Name of a shipped config, or a YAML file.")] = "brain_mri",
    saliency: Annotated[
        str | None,
        typer.Option(help=f"What marks the region to hide: {', '.join(get_args(Saliency))}. Instead of the config's."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Instead of the config's.")] = None,
    samples: Annotated[int | None, typer.Option(help="Drawn in an epoch; instead of the config's.")] = None,
    model: Annotated[
        str, typer.Option(help="Whose attention marks the region: embedded, biomedclip, a pulled name or a folder.")
    ] = EMBEDDED,
    abnormal: Annotated[list[str] | None, typer.Option(help="Name of an image to leave out; repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="Of draws, mosaics and weights.")] = 0,
    device: Device = "auto",
) -> None:
    """Learn from healthy images to restore what is hidden; where that differs from an image lies its anomaly.

    Several GPUs: torchrun --nproc-per-node N -m anomalabel.cli train reconstruction ...
    """
    from anomalabel.backbones.device import choose_device
    from anomalabel.backbones.encoders import NamedEncoders
    from anomalabel.learning.healthy_set import list_healthy
    from anomalabel.learning.reconstruction import ReconstructionTrainingRequest, train_reconstruction
    from anomalabel.training.reconstruction.processes import joined_processes, own_device

    values = {
        "config": config,
        "backbone": model,
        "saliency": saliency,
        "epochs": epochs,
        "samples": samples,
        "seed": seed,
    }
    with joined_processes() as processes:
        terminal.quiet = not processes.is_first
        request = parse_settings(ReconstructionTrainingRequest, values, "the command line")
        images = [image for folder in healthy for image in list_healthy(folder)]
        require_named(images, abnormal or [])
        encoders = NamedEncoders(model, str(own_device(choose_device(device))))
        try:
            with stages() as watch:
                report = train_reconstruction(request, images, out, encoders, watch, frozenset(abnormal or ()))
        except KeyboardInterrupt:
            say("Stopped; the same command goes on from the last checkpoint.", "yellow")
            raise typer.Exit(INTERRUPTED) from None
        say_report(report, out)
