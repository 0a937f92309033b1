"""Lay the images that the embedded model is measured on out as folders for `anomalabel evaluate`.

    python benchmarks/kept_apart_folders.py MANIFEST.csv OUT

From the manifest of `write_training_manifest.py`:

    OUT/ANATOMY/CONDITION    pictures of part "kept_apart", links, with their masks and boxes
    OUT/brain_sample/TUMOUR  100 of each, drawn with a fixed seed, for methods that take a second per image
    OUT/ANATOMY/shots        healthy pictures of part "train", to draw shots from
    OUT/crops/normal|abnormal|shots
                             square crops (45 to 70 percent of the side) of brain tumour slices: one beside the
                             tumour and one around it from each kept-apart slice; shots are crops beside tumours of
                             other slices. That source has no healthy slices, so this is the only fair contrast in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from anomalabel.io.read import read_volume
from anomalabel.training.crops import crop_around, crop_beside
from anomalabel.training.manifest import ManifestRow, lesion_mask, read_manifest

PICTURES = (".jpg", ".jpeg", ".png")
SAMPLED = 100
CROPPED = 200
SHOTS = 64
TUMOURS = ("glioma", "meningioma", "pituitary")


def main() -> None:
    rows = [row for row in read_manifest(Path(sys.argv[1])) if row.image.endswith(PICTURES)]
    out = Path(sys.argv[2])
    for row in rows:
        if row.part == "kept_apart":
            _link(row, out / row.anatomy / row.condition)
        elif row.condition == "healthy":
            _link(row, out / row.anatomy / "shots")
    for condition in TUMOURS:
        of_it = [row for row in rows if row.condition == condition and row.part == "kept_apart"]
        for number in np.random.default_rng(0).permutation(len(of_it))[:SAMPLED]:
            _link(of_it[number], out / "brain_sample" / condition)
    generator = np.random.default_rng(0)
    tumours = [row for row in rows if row.condition in TUMOURS]
    apart = [row for row in tumours if row.part == "kept_apart"]
    others = [row for row in tumours if row.part == "train"]
    for number in generator.permutation(len(apart))[:CROPPED]:
        both = _picture(apart[number])
        beside, around = crop_beside(both, generator), crop_around(both, generator)
        if beside is not None and around is not None:
            _save(beside, out / "crops" / "normal" / f"{number:04d}.png")
            _save(around, out / "crops" / "abnormal" / f"{number:04d}.png", masked=True)
    for number in generator.permutation(len(others))[:SHOTS]:
        beside = crop_beside(_picture(others[number]), generator)
        if beside is not None:
            _save(beside, out / "crops" / "shots" / f"{number:04d}.png")


def _link(row: ManifestRow, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in (row.image, row.mask, row.boxes):
        if path and not (folder / Path(path).name).exists():
            (folder / Path(path).name).symlink_to(path)


def _picture(row: ManifestRow) -> np.ndarray:
    """(2, side, side) float32 image and lesion in [0, 1], cut to a square."""
    volume = read_volume(Path(row.image))
    image = volume.array[0].astype(np.float32)
    image /= max(float(image.max()), 1.0)
    side = min(image.shape)
    return np.stack([image, lesion_mask(row, volume)[0]])[:, :side, :side]


def _save(crop: np.ndarray, path: Path, masked: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((crop[0] * 255).round().astype(np.uint8)).save(path)
    if masked:
        mask = ((crop[1] > 0.5) * 255).astype(np.uint8)
        Image.fromarray(mask).save(path.with_name(f"{path.stem}_mask.png"))


if __name__ == "__main__":
    main()
