"""What several folders of tests share."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.backbones.loading import CONFIG_FILE, MERGES_FILE, VOCABULARY_FILE, WEIGHT_FILES, load_model
from anomalabel.demo.server_process import server_process
from anomalabel.training.tokenizer import learn_merges, vocabulary_size, write_merges

TINY_WORDS = ("glioma", "tumor", "lesion", "normal", "healthy", "brain", "chest", "gray", "matter")


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
    with server_process(studies, root / "server.log", device="cpu") as url:
        yield RunningServer(url, studies)


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


def head(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """(X, Y, Z) int16: a noisy ellipse of tissue in air on each slice, with a bright spot in the middle slice."""
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    tissue = (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1
    voxels = tissue * (400 + 30 * np.random.default_rng(seed).standard_normal(shape))
    voxels[..., shape[2] // 2] += 400 * ((x - 0.3) ** 2 + (y - 0.2) ** 2 < 0.04)[..., 0]
    return np.clip(voxels, 0, None).astype(np.int16)
