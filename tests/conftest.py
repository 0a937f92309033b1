"""What several folders of tests share."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest

from anomalabel.demo.server_process import server_process


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


def head(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """(X, Y, Z) int16: a noisy ellipse of tissue in air on each slice, with a bright spot in the middle slice."""
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    tissue = (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1
    voxels = tissue * (400 + 30 * np.random.default_rng(seed).standard_normal(shape))
    voxels[..., shape[2] // 2] += 400 * ((x - 0.3) ** 2 + (y - 0.2) ** 2 < 0.04)[..., 0]
    return np.clip(voxels, 0, None).astype(np.int16)
