"""What several folders of tests share."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import open_clip
import pytest
import requests
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from anomalabel.backbones.encoders import NamedEncoders
from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.backbones.loading import CONFIG_FILE, MERGES_FILE, VOCABULARY_FILE, WEIGHT_FILES, load_model
from anomalabel.backbones.patch_encoders import PatchEncoder, patch_encoder_of
from anomalabel.config import AnatomyConfig
from anomalabel.demo.server_process import server_process
from anomalabel.detectors.base import PreparedImage
from anomalabel.detectors.few_shot import shot_of
from anomalabel.finding import PromptTexts
from anomalabel.learning import reconstruction
from anomalabel.learning.healthy_set import list_healthy
from anomalabel.learning.reconstruction import ReconstructionTrainingRequest, train_reconstruction
from anomalabel.learning.training_report import TrainingReport
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition
from anomalabel.training.few_shot.fit import FewShotFit, fit_few_shot
from anomalabel.training.few_shot.fit_head import TextSource
from anomalabel.training.few_shot.shots import Shot
from anomalabel.training.tokenizer import learn_merges, vocabulary_size, write_merges

TINY_WORDS = ("glioma", "tumor", "lesion", "normal", "healthy", "brain", "chest", "gray", "matter")
TEMPLATE_WORDS = ("signs", "of", "abnormal", "appearance", "mri", "the", "with", "no", "a")


@dataclass(frozen=True)
class RunningServer:
    """The real server on loopback, ready.

    Args:
        url: its address.
        studies: its folder, with `axial` (NIfTI, 64 x 56 x 6 voxels) and `oblique` (NRRD, 48 x 52 x 5).
    """

    url: str
    studies: Path


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server process for the whole session; tests leave its two studies as they are."""
    root = tmp_path_factory.mktemp("server")
    studies = root / "studies"
    studies.mkdir()
    affine = np.diag([-3.0, 3.0, 5.0, 1.0])
    affine[:3, 3] = (90, -80, -15)
    nibabel.save(nibabel.Nifti1Image(head((64, 56, 6), seed=1), affine), studies / "axial.nii.gz")
    turn = np.deg2rad(20)
    directions = np.array(
        [[3 * np.cos(turn), 3 * np.sin(turn), 0], [-4 * np.sin(turn), 4 * np.cos(turn), 0], [0, 0, 6]]
    )
    header = {"space": "left-posterior-superior", "space directions": directions, "space origin": [-70, -90, 10]}
    nrrd.write(str(studies / "oblique.nrrd"), head((48, 52, 5), seed=2), header)
    cache = pytest.MonkeyPatch()
    cache.setenv("ANOMALABEL_CACHE", str(root / "cache"))
    with server_process(studies, root / "server.log", device="cpu") as url:
        cache.undo()
        yield RunningServer(url, studies)


@dataclass(frozen=True)
class TrainedServer(RunningServer):
    """`RunningServer` with a model for `breast_ultrasound`.

    Args:
        training: the status that the training ended with.
    """

    training: dict[str, Any]


@pytest.fixture(scope="session")
def trained_server(running_server: RunningServer) -> TrainedServer:
    """Trained briefly on four pictures of tissue in the folder `healthy`, which holds a copy and a torn file too."""
    folder = running_server.studies / "healthy"
    folder.mkdir()
    for seed in range(4):
        Image.fromarray(tissue_pixels(seed, side=64)).save(folder / f"{seed}.png")
    shutil.copy(folder / "0.png", folder / "again.png")
    (folder / "torn.png").write_bytes((folder / "1.png").read_bytes()[:200])
    asked = {"config": "breast_ultrasound", "healthy": "healthy", "shots": 4, "epochs": 2}
    started = requests.post(f"{running_server.url}/train/few_shot_localization", json=asked, timeout=30)
    assert started.status_code == 200, started.text
    status = started.json()
    while status["status"] == "RUNNING":
        time.sleep(0.1)
        status = requests.get(f"{running_server.url}/train/", timeout=30).json()
    assert status["status"] == "DONE", status
    return TrainedServer(running_server.url, running_server.studies, status)


@pytest.fixture
def planted() -> np.ndarray:
    """(64, 64) uint8: a picture of tissue, other than those that were learned from, with a bright square."""
    return tissue_pixels(9, planted=True, side=64)


@pytest.fixture(scope="session")
def tiny_clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the embedded model's form: a random ViT of 11 blocks and 4 x 4 patches that knows `TINY_WORDS`."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    merges = learn_merges(TINY_WORDS, 40)
    write_merges(folder / MERGES_FILE, merges)
    (folder / VOCABULARY_FILE).write_text(json.dumps(TINY_WORDS))
    vision = {"image_size": 32, "layers": 11, "width": 32, "head_width": 16, "patch_size": 8, "pool_type": "avg"}
    text = {"context_length": 64, "vocab_size": vocabulary_size(merges), "width": 32, "heads": 2, "layers": 1}
    parts = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    config = {"model_cfg": {**parts, "custom_text": True}, "preprocess_cfg": {"mean": [0.3] * 3, "std": [0.3] * 3}}
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    torch.manual_seed(0)
    save_file(open_clip.CustomTextCLIP(**parts).state_dict(), folder / WEIGHT_FILES[0])
    return folder


@pytest.fixture(scope="session")
def tiny_clip(tiny_clip_folder: Path) -> OpenClipModel:
    """The model of `tiny_clip_folder` in float32 on the CPU."""
    return load_model(str(tiny_clip_folder), "cpu", "float32")


@pytest.fixture(scope="session")
def knowing_clip_folder(tiny_clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model again, with the same weights, that also knows the words of the few-shot templates."""
    folder = Path(shutil.copytree(tiny_clip_folder, tmp_path_factory.mktemp("models") / "knowing"))
    (folder / VOCABULARY_FILE).write_text(json.dumps(TINY_WORDS + TEMPLATE_WORDS))
    return folder


@pytest.fixture(scope="session")
def few_shot_config() -> Callable[..., AnatomyConfig]:
    """A config about gliomas on pictures without background, learning briefly; arguments: keys of `few_shot`."""

    def make(**few_shot: object) -> AnatomyConfig:
        return AnatomyConfig.model_validate(few_shot_values(**few_shot))

    return make


def few_shot_values(**few_shot: object) -> dict[str, object]:
    """What a YAML file of `few_shot_config` holds."""
    return {
        "name": "tissue",
        "title": "Tissue",
        "anatomy": "brain",
        "modality": "MRI",
        "conditions": ["glioma"],
        "prompts": {"positive": ["glioma tumor"], "negative": ["healthy brain"]},
        "preprocessing": {
            "foreground": {"enabled": False},
            "intensity": {"kind": "ct_window", "center_hu": 128, "width_hu": 256},
        },
        "findings": {"minimum_area_mm2": 0},
        "few_shot": {"training": {"epochs": 3, "views": 4, "learning_rate": 0.01}, **few_shot},
    }


@pytest.fixture(scope="session")
def tissue() -> Callable[..., PreparedImage]:
    """A prepared 32 x 32 picture of grey waves, by seed, with a checkerboard in a quarter where `planted`."""

    def make(seed: int, planted: bool = False) -> PreparedImage:
        scaled = tissue_pixels(seed, planted).astype(np.float32)[None] / 255
        return PreparedImage(
            PreparedVolume(scaled, np.ones(scaled.shape, dtype=bool)), np.eye(4), (SlicePosition(0, 0, "image"),)
        )

    return make


def tissue_pixels(seed: int, planted: bool = False, side: int = 32) -> np.ndarray:
    """(side, side) uint8: grey waves with noise, nowhere black; the plant fills the lower left quarter."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    waves = np.sin(x * generator.uniform(4, 9)) * np.cos(y * generator.uniform(4, 9))
    pixels = np.clip(110 + 25 * waves + generator.normal(0, 6, (side, side)), 1, 200)
    if planted:
        rows, columns = np.mgrid[: side // 2, : side // 2] // 4
        pixels[side // 2 :, : side // 2] = 10 + 240 * ((rows + columns) % 2)
    return pixels.astype(np.uint8)


@dataclass(frozen=True)
class FewShotFiles:
    """What one needs to train from files: ten healthy pictures `0.png` to `9.png`, a config and an encoder.

    Args:
        healthy: folder of the pictures.
        config: YAML file of `few_shot_values`.
        encoder: folder of the tiny model that knows the templates' words.
    """

    healthy: Path
    config: Path
    encoder: Path

    def configure(self, **few_shot: object) -> None:
        """Write the config anew."""
        self.config.write_text(yaml.safe_dump(few_shot_values(**few_shot)))

    def draw(self, path: Path, seed: int, planted: bool = False, side: int = 32) -> Path:
        """Write a picture."""
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tissue_pixels(seed, planted, side)).save(path)
        return path


@pytest.fixture
def few_shot_files(tmp_path: Path, knowing_clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> FewShotFiles:
    """See `FewShotFiles`; features are cached in this test's own folder."""
    monkeypatch.setenv("ANOMALABEL_CACHE", str(tmp_path / "cache"))
    files = FewShotFiles(tmp_path / "healthy", tmp_path / "tissue.yaml", knowing_clip_folder)
    files.configure()
    for number in range(10):
        files.draw(files.healthy / f"{number}.png", number)
    return files


BRIEF_RECONSTRUCTION: dict[str, Any] = {
    "side": 64,
    "channels": [4, 4, 4, 4, 4, 4],
    "mosaic": {"blocks": [16]},
    "errors": {"features": 1.0, "cell": 8},
    "healthy_level": True,
    "training": {"epochs": 2, "samples": 16, "batch_size": 8},
}
"""Two epochs of two steps."""


@dataclass(frozen=True)
class ReconstructionBench:
    """Twelve healthy pictures `0.png` to `11.png`, a config and an encoder; trains from them.

    Args:
        healthy: folder of the pictures.
        config: YAML file.
        encoder: folder of a tiny image-text model.
        model: folder that is trained into.
        draw: writes a picture; arguments: path, seed, planted, side.
    """

    healthy: Path
    config: Path
    encoder: Path
    model: Path
    draw: Callable[..., Path]

    def configure(self, further: dict[str, Any] | None = None, **reconstruction: Any) -> None:
        """Write the config anew; what is given comes on top of the brief settings."""
        values = yaml.safe_load(self.config.read_text())
        values |= {"attention": {"layer": 5, "steps": 2}, "reconstruction": BRIEF_RECONSTRUCTION | reconstruction} | (
            further or {}
        )
        self.config.write_text(yaml.safe_dump(values))

    def train(
        self,
        healthy: Sequence[Path] | None = None,
        watch: Callable[[str, int, int], None] = lambda stage, done, total: None,
        out: Path | None = None,
        abnormal: frozenset[str] = frozenset(),
        encoder: str | None = None,
        **request: Any,
    ) -> TrainingReport:
        """Train, by default from all pictures into `model`."""
        asked = ReconstructionTrainingRequest(config=str(self.config), **request)
        encoders = NamedEncoders(encoder or str(self.encoder), "cpu", "float32")
        paths = list_healthy(self.healthy) if healthy is None else healthy
        return train_reconstruction(asked, paths, out or self.model, encoders, watch, abnormal)

    @property
    def checkpoints(self) -> list[Path]:
        """Of trainings that did not come to their end."""
        return list(self.model.glob("unfinished/*/training_state.pt"))


def no_curves(history: object, path: Path, smoothing: float) -> None:
    """In place of drawing, which takes longer than the rest of so small a training."""
    path.write_bytes(b"curves")


@pytest.fixture
def reconstruction_bench(few_shot_files, tmp_path, monkeypatch) -> ReconstructionBench:
    """See `ReconstructionBench`; saliency is cached in this test's own folder, and curves are not drawn."""
    monkeypatch.setattr(reconstruction, "draw_curves", no_curves)
    bench = ReconstructionBench(
        few_shot_files.healthy, few_shot_files.config, few_shot_files.encoder, tmp_path / "model", few_shot_files.draw
    )
    for number in (10, 11):
        bench.draw(bench.healthy / f"{number}.png", number)
    bench.configure()
    return bench


@dataclass(frozen=True)
class FewShotBench:
    """The tiny model with texts of its own words, and pictures of tissue to learn from."""

    encoder: PatchEncoder
    source: TextSource
    make: Callable[..., AnatomyConfig]
    picture: Callable[..., PreparedImage]

    def shot(self, seed: int, planted: bool = False) -> Shot:
        """A picture as a shot."""
        return shot_of(self.picture(seed, planted), self.encoder, self.make())

    def fit(
        self,
        config: AnatomyConfig | None = None,
        seeds: tuple[int, ...] = (0, 1, 2, 3),
        seed: int = 0,
        watch: Callable[[str, int, int], None] = lambda stage, done, total: None,
        **parts: object,
    ) -> FewShotFit:
        """What is learned from the pictures of `seeds`."""
        shots = [self.shot(number) for number in seeds]
        values = {"encoder": self.encoder, "source": self.source, **parts}
        return fit_few_shot(shots, config=config or self.make(), seed=seed, watch=watch, **values)


@pytest.fixture(scope="session")
def bench(tiny_clip: OpenClipModel, few_shot_config, tissue) -> FewShotBench:
    """See `FewShotBench`."""
    prompts = PromptTexts(positive=("glioma tumor", "brain lesion"), negative=("healthy brain", "normal gray matter"))
    return FewShotBench(patch_encoder_of(tiny_clip), TextSource(tiny_clip, prompts), few_shot_config, tissue)


def head(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """(X, Y, Z) int16: a noisy ellipse of tissue in air on each slice, with a bright spot in the middle slice."""
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    tissue = (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1
    voxels = tissue * (400 + 30 * np.random.default_rng(seed).standard_normal(shape))
    voxels[..., shape[2] // 2] += 400 * ((x - 0.3) ** 2 + (y - 0.2) ** 2 < 0.04)[..., 0]
    return np.clip(voxels, 0, None).astype(np.int16)
