"""`anomalabel explain`: which places of an image pull its score for disease up."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn

from anomalabel.cli.terminal import Device, bar_of, say
from anomalabel.config import EMBEDDED


class VariantName(str, Enum):
    """How channels are weighed."""

    grad_cam = "grad_cam"
    grad_cam_plus_plus = "grad_cam++"


class LayerName(str, Enum):
    """Which layer is looked at."""

    map = "map"
    tokens = "tokens"


def explain(
    image: Annotated[Path, typer.Argument(help="Image file or DICOM folder.", readable=False)],
    out: Annotated[Path, typer.Option(help="Folder for map and picture.", readable=False)],
    config: Annotated[str, typer.Option(help="Name of a shipped config, or a YAML file.")] = "brain_mri",
    model: Annotated[str, typer.Option(help="embedded, biomedclip, a pulled name or a folder.")] = EMBEDDED,
    variant: Annotated[VariantName, typer.Option(help="How channels are weighed.")] = VariantName.grad_cam,
    layer: Annotated[
        LayerName | None, typer.Option(help="Last convolutions or last tokens; unset, what suits model and variant.")
    ] = None,
    positive: Annotated[list[str] | None, typer.Option(help="Text for the disease; repeatable.")] = None,
    negative: Annotated[list[str] | None, typer.Option(help="Text for health; repeatable.")] = None,
    series: Annotated[str | None, typer.Option(help="Series UID, where a DICOM folder holds several.")] = None,
    device: Device = "auto",
) -> None:
    """Write STEM.gradcam.nrrd and STEM.gradcam.png: where the model looks for the disease texts against health."""
    from anomalabel.config import DetectionRequest, load_config, parse_settings
    from anomalabel.explain.grad_cam import text_score
    from anomalabel.explain.grad_cam_volume import explain_volume, write_explanation
    from anomalabel.io.read import read_volume
    from anomalabel.io.write import write_heatmap
    from anomalabel.outputs import check_folder, image_stem, make_folder
    from anomalabel.pipeline import DetectionPipeline, prepare_image
    from anomalabel.prompts.render import render_prompts

    values = {
        "config": config,
        "backbone": model,
        "positive": tuple(positive) if positive else None,
        "negative": tuple(negative) if negative else None,
    }
    request = parse_settings(DetectionRequest, values, "the command line")
    check_folder(out)
    settings = load_config(config)
    prompts = render_prompts(settings, request)
    network = DetectionPipeline(device).model(model)
    score = text_score(network, prompts.positive, prompts.negative)
    volume = read_volume(image, series)
    prepared = prepare_image(volume, settings)
    with bar_of(image.name, MofNCompleteColumn()) as (bar, task):
        explanation = explain_volume(
            network,
            prepared.prepared,
            prepared.affine_ras,
            prepared.positions,
            settings.preprocessing,
            score,
            lambda done, total: bar.update(task, completed=done, total=total),
            variant.value,
            layer.value if layer else None,
        )
    stem = image_stem(image)
    map_path, picture_path = out / f"{stem}.gradcam.nrrd", out / f"{stem}.gradcam.png"
    make_folder(out)
    write_heatmap(map_path, explanation.relevance, volume.affine_ras)
    write_explanation(picture_path, volume, explanation, network.identity, settings.name, prompts)
    say(f"{image.name}: score {explanation.score:.2f}, {picture_path}")
    if not (explanation.relevance > 0).any():
        say("  Nothing in the image speaks for the disease texts: the map is empty.", "yellow")
    if unknown := network.unknown_words((*prompts.positive, *prompts.negative)):
        say(f"  The model {network.identity.name} never saw these words: {', '.join(unknown)}.", "yellow")
