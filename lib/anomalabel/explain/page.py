"""One HTML page that shows a result in any browser, without network."""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import nibabel
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from anomalabel.finding import FindingsReport
from anomalabel.io.write import write_text
from anomalabel.volume import FloatArray, Matrix, Volume

TEMPLATE = "result.html.jinja"
BYTE = 255


@dataclass(frozen=True)
class Fact:
    """One line of the page's table of facts."""

    name: str
    value: str


@dataclass(frozen=True)
class PageContent:
    """What the page says and shows.

    Args:
        title: heading.
        verdict: the one sentence that matters.
        success: whether the verdict is a good one; decides its colour only.
        steps: what was done, in order.
        facts: numbers behind the verdict.
        picture_png: overlay picture.
        report: with findings and warnings.
        volume: shown interactively.
        anomaly_map: (Z, Y, X) over the volume, NaN unseen.
        truth: (Z, Y, X), True where the lesion is; the views start at its middle.
    """

    title: str
    verdict: str
    success: bool
    steps: tuple[str, ...]
    facts: tuple[Fact, ...]
    picture_png: bytes
    report: FindingsReport
    volume: Volume
    anomaly_map: FloatArray
    truth: NDArray[np.bool_]


def write_page(path: Path, content: PageContent) -> None:
    """Write `render_page`.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(path, render_page(content))


def render_page(content: PageContent) -> str:
    """The page as HTML text; everything it needs is inside, and its own policy forbids it to load anything else."""
    environment = Environment(
        loader=PackageLoader("anomalabel.explain"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    affine = content.volume.affine_ras
    high = float(np.nanmax(content.anomaly_map))
    return environment.get_template(TEMPLATE).render(
        content=content,
        report=content.report,
        picture=_base64(content.picture_png),
        viewer_script=viewer_script(),
        volume=nifti_base64(content.volume.array, affine),
        heatmap=nifti_base64(content.anomaly_map, affine),
        truth=nifti_base64(content.truth.astype(np.float32), affine),
        heatmap_low=min(content.report.threshold.value, high),
        heatmap_high=high,
        crosshair=center_ras(content.truth, affine),
    )


def center_ras(mask: NDArray[np.bool_], affine_ras: Matrix) -> list[float]:
    """Middle of a (Z, Y, X) mask, RAS millimetres."""
    z, y, x = np.argwhere(mask).mean(axis=0)
    return [float(value) for value in (affine_ras @ np.array([x, y, z, 1.0]))[:3]]


def viewer_script() -> str:
    """NiiVue, as the nilearn package carries it, safe inside a script element."""
    script = (files("nilearn") / "_assets" / "js" / "niivue.umd.js").read_text(encoding="utf-8")
    return script.replace("</script", "<\\/script")


def nifti_base64(array: FloatArray, affine_ras: Matrix) -> str:
    """A volume as base64 of a gzipped NIfTI file of bytes, its range kept in slope and intercept.

    Args:
        array: (Z, Y, X); NaN becomes the smallest value.
        affine_ras: (4, 4).
    """
    seen = np.isfinite(array)
    low, high = (float(array[seen].min()), float(array[seen].max())) if seen.any() else (0.0, 0.0)
    slope = (high - low) / BYTE or 1.0
    stored = np.rint((np.where(seen, array, low) - low) / slope).astype(np.uint8)
    image = nibabel.Nifti1Image(stored.T, affine_ras)
    image.header.set_slope_inter(slope, low)
    return _base64(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
