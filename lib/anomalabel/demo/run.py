"""The demonstration from end to end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from anomalabel.config import DetectionRequest
from anomalabel.demo.client import ServerAnswer, ask_server
from anomalabel.demo.lesion import LesionSettings, PlantedLesion, load_head, plant_lesion
from anomalabel.demo.score import LesionScore, score_lesion
from anomalabel.demo.server_process import server_process
from anomalabel.explain.overlay import write_overlay
from anomalabel.explain.page import Fact, PageContent, write_page
from anomalabel.finding import Finding, FindingsReport, Point
from anomalabel.io.read import read_volume
from anomalabel.io.write import replacing, write_text

STUDY = "head_with_lesion"
CONFIG = "brain_mri"


@dataclass(frozen=True)
class DemoOutputs:
    """Where everything lies, and how the map did.

    Args:
        study: the image that was asked about, inside the folder the server served.
        truth: mask of the planted lesion, outside of that folder.
        heatmap, findings, overlay, page, server_log: what the demonstration wrote.
        score: of the map against the truth.
    """

    study: Path
    truth: Path
    heatmap: Path
    findings: Path
    overlay: Path
    page: Path
    server_log: Path
    score: LesionScore


def run_demo(
    out: Path,
    port: int | None = None,
    device: str = "auto",
    settings: LesionSettings | None = None,
    console: Console | None = None,
) -> DemoOutputs:
    """Plant a lesion, start the server, ask it over HTTP, and write heatmap, findings, picture and page.

    Args:
        out: folder for everything; made where it is missing, files of an earlier run are replaced.
        port: of the server on loopback; a free one where None.
        device: "auto", "cpu", "cuda", ...
        settings: of the lesion.
        console: where progress and the summary go; standard output where None.

    Raises:
        AnomaLabelError: the server did not start or refused, or a file cannot be written.
    """
    terminal = console or Console()
    chosen = settings or LesionSettings()
    paths = _paths(out.expanduser().resolve())
    with _progress(terminal) as progress:
        step = progress.add_task("Planting a lesion into a head", total=None)
        planted = _plant(chosen, paths["study"], paths["truth"])
        progress.update(step, description="Starting the server and loading the model")
        with server_process(paths["study"].parent, paths["server_log"], port, device) as url:
            progress.update(step, description="Asking the server, slice by slice")
            answer = ask_server(
                url,
                STUDY,
                DetectionRequest(config=CONFIG).model_dump(include={"config", "seed"}),
                lambda done, total: progress.update(step, completed=done, total=total or None),
            )
        progress.update(step, description="Writing the page", completed=0, total=None)
        score = _write_results(answer, planted, chosen, paths)
    outputs = DemoOutputs(score=score, **paths)
    _summarise(outputs, terminal)
    return outputs


def _paths(out: Path) -> dict[str, Path]:
    paths = {
        "study": out / "studies" / f"{STUDY}.nii.gz",
        "truth": out / "truth" / f"{STUDY}.lesion.nii.gz",
        "heatmap": out / f"{STUDY}.heatmap.nrrd",
        "findings": out / f"{STUDY}.findings.json",
        "overlay": out / f"{STUDY}.overlay.png",
        "page": out / "demo.html",
        "server_log": out / "server.log",
    }
    for path in paths.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    return paths


def _plant(settings: LesionSettings, study: Path, truth: Path) -> PlantedLesion:
    head = load_head()
    planted = plant_lesion(head, settings)
    with replacing(study) as file:
        nibabel.save(nibabel.Nifti1Image(np.rint(planted.t1).astype(np.uint8), head.affine_ras), file)
    with replacing(truth) as file:
        nibabel.save(nibabel.Nifti1Image(planted.truth.astype(np.uint8), head.affine_ras), file)
    return planted


def _write_results(
    answer: ServerAnswer, planted: PlantedLesion, settings: LesionSettings, paths: dict[str, Path]
) -> LesionScore:
    with replacing(paths["heatmap"]) as file:
        file.write_bytes(answer.heatmap)
    write_text(paths["findings"], answer.report.to_json())
    volume, heatmap = read_volume(paths["study"]), read_volume(paths["heatmap"])
    write_overlay(paths["overlay"], volume, heatmap.array, answer.report)
    truth = planted.truth.T
    score = score_lesion(heatmap.array, truth, volume.spacing_mm)
    content = PageContent(
        title="A planted lesion, found through the server?",
        verdict=verdict(score),
        success=score.peak_in_lesion,
        steps=_steps(settings, planted),
        facts=_facts(score, answer.report, planted),
        picture_png=paths["overlay"].read_bytes(),
        report=answer.report,
        volume=volume,
        anomaly_map=heatmap.array,
        truth=truth,
    )
    write_page(paths["page"], content)
    return score


def verdict(score: LesionScore) -> str:
    """One sentence that says whether the map's peak lies in the planted lesion."""
    if score.peak_in_lesion:
        return "Yes: the map's peak lies in the planted lesion."
    return f"No: the map's peak lies {score.peak_distance_mm:.0f} mm away from the planted lesion."


def _steps(settings: LesionSettings, planted: PlantedLesion) -> tuple[str, ...]:
    change = "brighter" if settings.contrast_sd > 0 else "darker"
    x, y, z = settings.radii_mm
    center = ", ".join(f"{value:.0f}" for value in planted.center_ras)
    return (
        "A T1 image was taken: the MNI ICBM152 template of the nilearn package, an average brain without its skull.",
        f"A soft-edged ellipsoid of {_edges((2 * x, 2 * y, 2 * z))} mm was planted into white matter "
        f"at R, A, S = {center} mm, {abs(settings.contrast_sd):g} standard deviations of white matter "
        f"{change} than it was.",
        "The AnomaLabel server was started on this machine and served the image from a studies folder.",
        "It was asked over HTTP, as 3D Slicer asks it. It knew nothing of the lesion.",
    )


def _facts(score: LesionScore, report: FindingsReport, planted: PlantedLesion) -> tuple[Fact, ...]:
    holding = [
        (finding, number) for number, finding in enumerate(report.findings, 1) if _holds(finding, planted.center_ras)
    ]
    smallest = min(holding, key=lambda pair: np.prod(pair[0].size_mm), default=None)
    box = "none" if smallest is None else f"finding {smallest[1]}, {_edges(smallest[0].size_mm)} mm"
    return (
        Fact("Peak in the planted lesion", "yes" if score.peak_in_lesion else "no"),
        Fact("Distance of the peak to the lesion", f"{score.peak_distance_mm:.1f} mm"),
        Fact("AUROC, voxels of the lesion against all others", f"{score.auroc:.3f} (0.5 is guessing, 1 is perfect)"),
        Fact("Part of the lesion that was looked at", f"{100 * score.lesion_seen:.0f} %"),
        Fact("Smallest box that holds the lesion's centre", box),
    )


def _edges(size_mm: Point) -> str:
    return " by ".join(f"{edge:.0f}" for edge in size_mm)


def _holds(finding: Finding, point_ras: Point) -> bool:
    """Whether a finding's box contains a point; `axes_ras` are unit vectors that may be oblique."""
    offset = np.subtract(point_ras, finding.center_ras)
    along = np.linalg.solve(np.transpose(finding.axes_ras), offset)
    return bool((np.abs(along) <= np.asarray(finding.size_mm) / 2).all())


def _progress(terminal: Console) -> Progress:
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=terminal
    )


def _summarise(outputs: DemoOutputs, terminal: Console) -> None:
    rows = {
        "Page": outputs.page,
        "Heatmap": outputs.heatmap,
        "Findings": outputs.findings,
        "Overlay": outputs.overlay,
        "Image": outputs.study,
        "Truth": outputs.truth,
        "Server log": outputs.server_log,
    }
    terminal.print(verdict(outputs.score), highlight=False)
    for name, path in rows.items():
        terminal.print(f"{name + ':':<12}{path}", highlight=False, soft_wrap=True)
    terminal.print(connect_slicer(outputs.study.parent), highlight=False, soft_wrap=True)


def connect_slicer(studies: Path) -> str:
    """How to open the same study in 3D Slicer."""
    source = Path(__file__).resolve().parents[3] / "slicer_extension" / "AnomaLabel"
    extension = str(source) if source.is_dir() else "slicer_extension/AnomaLabel of the source checkout"
    return (
        "\nTo see it in 3D Slicer:\n"
        f"  1. Start the server: make serve STUDIES={studies}\n"
        f"  2. In Slicer, Edit > Application Settings > Modules: add {extension}, and restart.\n"
        "  3. Open the module AnomaLabel and connect to http://127.0.0.1:8000\n"
        "Not for clinical use."
    )
