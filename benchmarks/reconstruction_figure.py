"""What a reconstruction model does with images, one in a row: image, saliency, mosaic, reconstruction, error.

    python benchmarks/reconstruction_figure.py --model FOLDER --healthy IMAGE [IMAGE ...] --sick IMAGE [IMAGE ...] \
        --out figure.png

FOLDER is what `anomalabel train reconstruction` wrote; who is healthy and who is sick only heads the rows. Of a volume
the highest-scoring slice is shown. A model that hides nothing has neither saliency nor mosaic. `--colours 128` makes
a smaller file, whose grey values are no longer exact.

The documentation's picture is of heads that `benchmarks/reconstruction_example.py` makes up: normal/head_0.png and
normal/head_3.png, sick/head_1.png and sick/head_3.png, 128 colours.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from anomalabel.backbones.encoders import NamedEncoders
from anomalabel.config import DetectionRequest, ExtraMap
from anomalabel.detectors.base import Detector, PreparedImage, no_progress
from anomalabel.explain.overlay import verdict
from anomalabel.explain.reconstruction_panel import draw_error, draw_grey, draw_saliency
from anomalabel.localization.patch_features import cut_slice
from anomalabel.model_folder import TrainedModel, read_description
from anomalabel.pipeline import DetectionPipeline, DetectionResult, prepare_image
from anomalabel.preprocessing.prepare import prepare_slice
from anomalabel.preprocessing.slices import SlicePosition, extract_slice, slice_spacing_mm
from anomalabel.reconstruction.mosaic import hide
from anomalabel.reconstruction.saliency import SaliencySources, saliency_maps, saliency_sources
from anomalabel.reconstruction.slices import batch_of, restorable_slice
from anomalabel.volume import FloatArray

PANEL_INCHES, HEADING_INCHES, GAP_INCHES = 2.9, 0.55, 0.06
DOTS_PER_INCH = 100
TALLEST = 1.6
"""Height over width of a panel, that a long narrow slice may ask for."""


@dataclass(frozen=True)
class Row:
    """One image as the model saw it.

    Args:
        kind: "healthy" or "sick".
        result: of the detection, with its extra maps.
        image: prepared as the detector took it.
        position: of the slice that is shown.
        mosaic: (H, W), the slice as the network got it; None where nothing is hidden.
    """

    kind: str
    result: DetectionResult
    image: PreparedImage
    position: SlicePosition
    mosaic: FloatArray | None

    @property
    def title(self) -> str:
        """Whose image it is and what the model says of it."""
        return f"{self.kind}: {Path(self.result.report.image).name}: {verdict(self.result.report)}"


class Looker:
    """A trained model, asked about images.

    Args:
        folder: of the model.
        device: "auto", "cpu", "cuda", ...
    """

    def __init__(self, folder: Path, device: str) -> None:
        self._model: TrainedModel = read_description(folder)
        self._config = self._model.config
        hides = self._config.reconstruction.saliency != "none"
        shown: tuple[ExtraMap, ...] = ("saliency", "reconstruction") if hides else ("reconstruction",)
        self._request = DetectionRequest(
            config=self._config.name, method="reconstruction", backbone=str(folder), extra_maps=shown
        )
        self._pipeline = DetectionPipeline(device)
        self._detector: Detector = self._pipeline.detector(self._request)
        self._sources = self._saliency(self._pipeline.encoders(self._model.encoder))

    def look(self, path: Path, kind: str) -> Row:
        """Detect, and choose the slice that is shown."""
        result = self._pipeline.detect(path, self._request, detector=self._detector)
        image = prepare_image(result.volume, self._config)
        position = self._highest(image)
        return Row(kind, result, image, position, self._mosaic(image, position))

    def _highest(self, image: PreparedImage) -> SlicePosition:
        if len(image.positions) == 1:
            return image.positions[0]
        return max(image.positions, key=lambda position: self._score(image, position))

    def _score(self, image: PreparedImage, position: SlicePosition) -> float:
        return self._detector.detect(image.prepared, image.affine_ras, (position,), no_progress).image_score

    def _mosaic(self, image: PreparedImage, position: SlicePosition) -> FloatArray | None:
        """Hidden by the first of the mosaics."""
        if not self._sources.encoders:
            return None
        settings, preprocessing = self._config.reconstruction, self._config.preprocessing
        cut = cut_slice(image.prepared, image.affine_ras, position)
        (saliency,) = saliency_maps(self._sources, preprocessing, [cut], None, 1)
        one = restorable_slice(cut, saliency, settings, preprocessing)
        batch = batch_of([one], settings.mosaic.threshold_sd, torch.device("cpu"))
        return one.frame.to_source(hide(batch.images, batch.hidden, settings.mosaic.blocks[0])[0, 0].numpy())

    def _saliency(self, encoders: NamedEncoders) -> SaliencySources:
        """As the model was trained with."""
        settings, model = self._config.reconstruction, self._model
        return saliency_sources(
            settings.saliency, encoders, model.prompts, self._config, model.seed, settings.self_attention
        )

    def draw(self, figure: SubFigure, row: Row) -> None:
        """One row of the figure."""
        affine_ras, position, result = row.image.affine_ras, row.position, row.result
        row_mm, column_mm = slice_spacing_mm(affine_ras, position)
        aspect = row_mm / column_mm
        scaled = extract_slice(row.image.prepared.scaled, affine_ras, position)
        image = prepare_slice(scaled, self._config.preprocessing)
        shown = {name: extract_slice(values, affine_ras, position) for name, values in result.extra_maps.items()}
        figure.suptitle(row.title, color="white", fontsize=11, parse_math=False)
        panels = iter(figure.subplots(1, 3 if row.mosaic is None else 5))
        draw_grey(next(panels), image, "image", aspect)
        if row.mosaic is not None:
            mosaic = self._config.reconstruction.mosaic
            draw_saliency(next(panels), image, shown["saliency"], mosaic.threshold_sd, aspect)
            draw_grey(next(panels), row.mosaic, f"what it gets: blocks of {mosaic.blocks[0]} of its pixels", aspect)
        draw_grey(next(panels), shown["reconstruction"], "healthy, as the model believes", aspect)
        draw_error(next(panels), result.volume, result.anomaly_map, result.report, position, aspect)


def write_figure(looker: Looker, rows: list[Row], out: Path, colours: int | None) -> None:
    """All rows as one PNG.

    Args:
        colours: that the file has at most; None for all.
    """
    columns = max(3 if row.mosaic is None else 5 for row in rows)
    heights = [HEADING_INCHES + PANEL_INCHES * min(_height_over_width(row), TALLEST) for row in rows]
    layout = ConstrainedLayoutEngine(h_pad=GAP_INCHES, w_pad=GAP_INCHES / 2, hspace=0, wspace=0)
    figure = Figure(figsize=(PANEL_INCHES * columns, sum(heights)), facecolor="black", layout=layout)
    parts = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, row in zip(parts, rows, strict=True):
        part.set_facecolor("black")
        looker.draw(part, row)
    figure.savefig(out, dpi=DOTS_PER_INCH, format="png", facecolor="black")
    if colours is not None:
        with Image.open(out) as picture:
            fewer = picture.convert("RGB").quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        fewer.save(out, optimize=True)


def _height_over_width(row: Row) -> float:
    row_mm, column_mm = slice_spacing_mm(row.image.affine_ras, row.position)
    rows, columns = extract_slice(row.image.prepared.scaled, row.image.affine_ras, row.position).shape
    return rows * row_mm / (columns * column_mm)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a trained reconstruction model")
    for kind in ("healthy", "sick"):
        parser.add_argument(f"--{kind}", type=Path, nargs="+", default=[], metavar="IMAGE")
    parser.add_argument("--out", type=Path, required=True, help="PNG file")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--colours", type=int, help="at most so many in the file; all unless given")
    given = parser.parse_args()
    named = [(path, kind) for kind in ("healthy", "sick") for path in getattr(given, kind)]
    if not named:
        parser.error("name images with --healthy or --sick")
    looker = Looker(given.model, given.device)
    write_figure(looker, [looker.look(path, kind) for path, kind in named], given.out, given.colours)


if __name__ == "__main__":
    main()
