"""The files that one detection leaves behind."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from anomalabel.config import ExtraMap
from anomalabel.errors import OutputError
from anomalabel.explain.overlay import write_overlay
from anomalabel.explain.reconstruction_panel import write_reconstruction_panel
from anomalabel.io.write import write_heatmap, write_text
from anomalabel.pipeline import DetectionResult
from anomalabel.volume import FloatArray

IMAGE_SUFFIXES = frozenset(
    {".nii", ".hdr", ".img", ".nrrd", ".nhdr", ".dcm", ".dicom", ".ima", ".png", ".jpg", ".jpeg", ".tif", ".tiff"}
)


@dataclass(frozen=True)
class OutputPaths:
    """Where heatmap, findings and overlay of one image go, and what only some methods have: uncertainty, extra maps
    and the picture of these."""

    heatmap: Path
    findings: Path
    overlay: Path
    uncertainty: Path
    extra_maps: Mapping[ExtraMap, Path]
    panel: Path


def image_stem(image: Path) -> str:
    """The name without its image suffix, `.nii.gz` whole; other dots stay: DICOM files are named like 1.2.840.10008."""
    name = image.resolve().name if image.name in {"", ".."} else image.name
    whole = Path(name[:-3]) if name.lower().endswith(".nii.gz") else Path(name)
    return whole.stem if whole.suffix.lower() in IMAGE_SUFFIXES else whole.name


def output_paths(folder: Path, image: Path) -> OutputPaths:
    """The paths of `image` in `folder`."""
    stem = image_stem(image)
    return OutputPaths(
        heatmap=folder / f"{stem}.heatmap.nrrd",
        findings=folder / f"{stem}.findings.json",
        overlay=folder / f"{stem}.overlay.png",
        uncertainty=folder / f"{stem}.uncertainty.nrrd",
        extra_maps={name: folder / f"{stem}.{name}.nrrd" for name in get_args(ExtraMap)},
        panel=folder / f"{stem}.reconstruction.png",
    )


def check_stems(images: Sequence[Path]) -> None:
    """Raise OutputError where two images would write the same files."""
    repeated = [stem for stem, count in Counter(image_stem(image) for image in images).items() if count > 1]
    if repeated:
        raise OutputError(
            f"Several images are called '{repeated[0]}'; their results would overwrite each other.",
            "Run them separately with different --out folders.",
        )


def check_folder(folder: Path) -> None:
    """Raise OutputError where results could not be written, before hours are spent on them; writes nothing."""
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError as error:
        raise OutputError(f"{folder} cannot be used: {error.strerror}.", "Choose another --out folder.") from error
    if not existing.is_dir():
        raise OutputError(f"{existing} is a file, not a folder.", "Choose another --out folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"{existing} may not be written to.", "Choose another --out folder.")


def check_file(path: Path) -> None:
    """Raise OutputError where a file could not be written, as `check_folder` does for a folder."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder, not a file.", "Name a file with --out.")
    check_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder for results where it is missing.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}.", "Choose another --out folder.") from error


def write_result(result: DetectionResult, paths: OutputPaths) -> None:
    """Write all files, each whole or not at all; the folder is made where it is missing.

    Raises:
        OutputError: a file or the folder cannot be written.
    """
    make_folder(paths.heatmap.parent)
    write_heatmap(paths.heatmap, result.anomaly_map, result.volume.affine_ras)
    write_text(paths.findings, result.report.to_json())
    _write_or_remove(paths.uncertainty, result.uncertainty_map, result)
    for name, path in paths.extra_maps.items():
        _write_or_remove(path, result.extra_maps.get(name), result)
    write_overlay(paths.overlay, result.volume, result.anomaly_map, result.report)
    if result.seen is not None:
        write_reconstruction_panel(paths.panel, result.seen, result.anomaly_map, result.extra_maps, result.report)
    else:
        _remove_stale(paths.panel)


def _write_or_remove(path: Path, values: FloatArray | None, result: DetectionResult) -> None:
    if values is None:
        _remove_stale(path)
    else:
        write_heatmap(path, values, result.volume.affine_ras)


def _remove_stale(path: Path) -> None:
    """Remove what an earlier detection by another method left, which would be taken for part of this one."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"The older {path} cannot be removed: {error.strerror}.", "Remove it by hand.") from error
