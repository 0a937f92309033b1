"""Time and peak memory of `anomalabel detect` on volumes, start-up included.

    python benchmarks/volume.py [--slices 91 182 364] [--repeats 1] [--device auto]

The volume is the T1 head of the nilearn package, resampled to a 182 x 218 grid with the given number of slices. Time
is the wall clock of the whole command; memory its largest resident set.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage

from anomalabel.demo.lesion import load_head

GRID = (182, 218)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, nargs="+", default=[91, 182, 364])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    print("slices  volume MB  seconds  peak MB")
    for slices in given.slices:
        with tempfile.TemporaryDirectory() as folder:
            image = Path(folder) / "head.nii.gz"
            size = _write_head(image, slices)
            runs = [_detect(image, Path(folder) / "out", given.device) for _ in range(given.repeats)]
        seconds, peak = (statistics.median(values) for values in zip(*runs, strict=True))
        print(f"{slices:6d}  {size / 1e6:9.1f}  {seconds:7.1f}  {peak / 1e6:7.0f}")


def _write_head(path: Path, slices: int) -> int:
    """Bytes of the volume in float32."""
    head = load_head()
    factors = [wanted / given for wanted, given in zip((*GRID, slices), head.t1.shape, strict=True)]
    array = ndimage.zoom(head.t1, factors, order=1)
    affine = head.affine_ras @ np.diag([*(1 / factor for factor in factors), 1.0])
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return array.nbytes


def _detect(image: Path, out: Path, device: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "anomalabel.cli", "detect", str(image), "--config", "brain_mri"]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--device", device, "--out", str(out)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    return seconds, usage.ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
