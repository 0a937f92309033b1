"""A server in this process whose pipeline is a stand-in that tests can hold, break and watch."""

import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from anomalabel.config import DetectionRequest, load_config
from anomalabel.finding import FindingsReport, Heatmap, ModelIdentity, PromptTexts, Threshold
from anomalabel.io.read import read_volume
from anomalabel.learning.training_report import LeftOutImage, TrainingReport
from anomalabel.model_folder import HealthyImage, TrainedModel, write_model_folder
from anomalabel.volume import FloatArray, Volume
from monailabel_app.server import create_app
from monailabel_app.settings import ServerSettings

if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

LOOPBACK = "http://127.0.0.1"


@dataclass(frozen=True)
class StandInResult:
    """What the real pipeline returns."""

    volume: Volume
    anomaly_map: FloatArray
    report: FindingsReport
    uncertainty_map: FloatArray | None = None
    extra_maps: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass
class StandInPipeline:
    """Reads the image for real; its map is the image scaled to [0, 1], NaN in the first row of each slice.

    The method few_shot has an uncertainty map too, a tenth of the map; the method reconstruction, where it is asked for
    them, a saliency map, minus the map, and a reconstruction, half the map.
    """

    warm_gate: threading.Event = field(default_factory=threading.Event)
    detect_gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    warm_error: Exception | None = None
    detect_error: Exception | None = None
    requests: list[DetectionRequest] = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)
    active: int = 0
    most_active: int = 0

    def __post_init__(self) -> None:
        self.warm_gate.set()
        self.detect_gate.set()

    def warm(self, backbone: str = "embedded") -> None:
        assert self.warm_gate.wait(20)
        if self.warm_error is not None:
            raise self.warm_error

    def encoders(self, backbone: str) -> str:
        return f"encoders of {backbone}"

    def detect(self, source: Path, request: DetectionRequest, progress: Callable[[int, int], None]) -> StandInResult:
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        self.requests.append(request)
        self.sources.append(source)
        self.entered.set()
        try:
            while not self.detect_gate.wait(0.02):
                progress(3, 7)
            progress(7, 7)
            if self.detect_error is not None:
                raise self.detect_error
            return stand_in_result(read_volume(source), request)
        finally:
            self.active -= 1


def stand_in_result(volume: Volume, request: DetectionRequest) -> StandInResult:
    """A map and a report of the right shapes."""
    anomaly_map = (volume.array / np.nanmax(volume.array)).astype(np.float32)
    anomaly_map[:, 0] = np.nan
    z, y, x = volume.shape
    report = FindingsReport(
        image=volume.source,
        method=request.method,
        model=ModelIdentity(name=request.backbone, weights_sha256="0" * 64),
        config=request.config,
        prompts=PromptTexts(positive=request.positive or ("tumor",), negative=request.negative or ("healthy",)),
        image_score=1.0,
        calibrated=False,
        threshold=Threshold(value=0.5, rule="stand-in"),
        prompt_specificity=None,
        nonfinite_voxels=volume.nonfinite_voxels,
        spacing_known=volume.spacing_known,
        heatmap=Heatmap(grid=(x, y, z), min=float(np.nanmin(anomaly_map)), max=1.0),
        findings=(),
    )
    uncertainty_map = anomaly_map / 10 if request.method == "few_shot" else None
    has = {"saliency": -anomaly_map, "reconstruction": anomaly_map / 2} if request.method == "reconstruction" else {}
    extra_maps = {name: has[name] for name in request.extra_maps}
    return StandInResult(volume, anomaly_map, report, uncertainty_map, extra_maps)


@dataclass
class StandInTraining:
    """Writes a real model folder with one tensor, and can be held before that."""

    method: str = "few_shot"
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def __call__(
        self,
        request: Any,
        healthy: Sequence[Path],
        folder: Path,
        encoders: str,
        watch: Callable[[str, int, int], None],
        abnormal: frozenset[str],
    ) -> TrainingReport:
        self.calls.append({"request": request, "healthy": healthy, "encoders": encoders, "abnormal": abnormal})
        watch("encoding shots", 0, 4)
        watch("training", 3, 12)
        self.entered.set()
        while not self.gate.wait(0.01):
            watch("training", 3, 12)
        if self.error is not None:
            raise self.error
        write_model(folder, request.config, request.seed, len(healthy), self.method)
        return TrainingReport(
            model=request.config,
            weights_sha256="3" * 64,
            shots_used=len(healthy),
            images=tuple(path.name for path in healthy),
            left_out=(LeftOutImage(image="torn.nii.gz", reason=f"{healthy[0].with_name('torn.nii.gz')} is cut off"),),
            warnings=(),
            metrics={},
            thresholds={},
        )


def write_model(
    folder: Path,
    config: str,
    seed: int = 0,
    shots: int = 4,
    method: str = "few_shot",
    saliency: str = "clap",
) -> None:
    """A model folder as training writes it; its one tensor holds the seed."""
    settings = load_config(config)
    reconstruction = settings.reconstruction.model_copy(update={"saliency": saliency})
    model = TrainedModel(
        method=method,
        config=settings.model_copy(update={"reconstruction": reconstruction}),
        backbone=ModelIdentity(name="embedded", weights_sha256="1" * 64),
        prompts=PromptTexts(positive=("tumor",), negative=("healthy",)),
        healthy=tuple(HealthyImage(name=f"{number}.png", sha256="2" * 64) for number in range(shots)),
        seed=seed,
        thresholds={"image": Threshold(value=1.0, rule="at most 20 % false positives are promised")},
    )
    write_model_folder(folder, model, {"adapter": torch.full((2,), float(seed))})


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """A studies folder with `head`, an oblique 5 x 6 x 7 NIfTI volume."""
    folder = tmp_path / "studies"
    folder.mkdir()
    voxels = np.random.default_rng(0).uniform(1, 100, size=(5, 6, 7)).astype(np.float32)
    affine = np.array([[-1.5, 0.1, 0, 10], [0.1, 2.0, 0.2, -20], [0, -0.2, 3.0, 5], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / "head.nii.gz")
    return folder


@pytest.fixture
def pipeline() -> StandInPipeline:
    return StandInPipeline()


@pytest.fixture
def models(studies: Path) -> Path:
    """The folder of the server's few-shot models, with one for `brain_mri` and one for `liver_ct`."""
    folder = studies / "anomalabel" / "models" / "few_shot_localization"
    for config in ("brain_mri", "liver_ct"):
        write_model(folder / config, config)
    return folder


@pytest.fixture
def reconstruction_models(studies: Path) -> Path:
    """The folder of the server's models that reconstruct: one for `brain_mri`, and one without saliency for
    `liver_ct`."""
    folder = studies / "anomalabel" / "models" / "unet_reconstruction"
    for config, saliency in (("brain_mri", "clap"), ("liver_ct", "none")):
        write_model(folder / config, config, shots=60, method="reconstruction", saliency=saliency)
    return folder


@pytest.fixture
def training() -> StandInTraining:
    """What makes few-shot models."""
    return StandInTraining()


@pytest.fixture
def reconstruction_training() -> StandInTraining:
    """What makes models that reconstruct."""
    return StandInTraining("reconstruction")


StartServer = Callable[..., TestClient]


@pytest.fixture
def start(
    studies: Path,
    pipeline: StandInPipeline,
    training: StandInTraining,
    reconstruction_training: StandInTraining,
) -> Iterator[StartServer]:
    """Starts a server on `studies` with given settings; it may still be loading its models."""
    trainings = {"few_shot_localization": training, "unet_reconstruction": reconstruction_training}
    with ExitStack() as servers:

        def started(**settings: object) -> TestClient:
            app = create_app(ServerSettings(studies, **settings), pipeline, trainings)
            client = TestClient(app, base_url=LOOPBACK, raise_server_exceptions=False)
            return servers.enter_context(client)

        yield started


@pytest.fixture
def client(start: StartServer) -> TestClient:
    """A server that is ready."""
    server = start()
    for _ in range(200):
        if server.get("/ready").status_code == 200:
            return server
        threading.Event().wait(0.02)
    raise AssertionError(server.get("/ready").text)


@pytest.fixture
def normals(studies: Path) -> list[Path]:
    """Four more studies: `n0` to `n3`."""
    paths = [studies / f"n{number}.nii.gz" for number in range(4)]
    for path in paths:
        shutil.copy(studies / "head.nii.gz", path)
    return paths


@pytest.fixture
def ready(client: TestClient, normals: list[Path]) -> TestClient:
    """A server whose studies n0 to n2 are reviewed as normal and `head` as abnormal."""
    from server_talk import review

    for number in range(3):
        review(client, f"n{number}", "normal")
    review(client, "head", "abnormal")
    return client
