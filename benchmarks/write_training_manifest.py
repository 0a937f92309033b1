"""Write the CSV manifest from which the embedded model is trained.

    python benchmarks/write_training_manifest.py DATA_FOLDER MANIFEST.csv

DATA_FOLDER holds the folders chest_xray, busi, brain_tumor_boxes, open_ms and dicom_t1, laid out as in the model
card's sources. Kept apart for measuring: chest_xray/test, the last third of each class of busi and of
brain_tumor_boxes (whole runs of file numbers, since neighbours come from one patient), and open_ms/patient19.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path

COLUMNS = ("image", "mask", "boxes", "anatomy", "modality", "condition", "part")


def rows(data: Path) -> Iterator[tuple[str, ...]]:
    for part in ("train", "test"):
        for label, condition in (("normal", "healthy"), ("pneumonia", "pneumonia")):
            for image in sorted((data / "chest_xray" / part / label).glob("*.jpeg")):
                yield str(image), "", "", "chest", "X-ray", condition, "train" if part == "train" else "kept_apart"
    for label, condition in (("normal", "healthy"), ("benign", "benign"), ("malignant", "malignant")):
        for image, part in _thirds(data / "busi" / label):
            mask = image.with_name(f"{image.stem}_mask.png")
            yield str(image), str(mask) if mask.is_file() else "", "", "breast", "ultrasound", condition, part
    for label in ("glioma", "meningioma", "pituitary"):
        for image, part in _thirds(data / "brain_tumor_boxes" / label):
            yield str(image), "", str(image.with_suffix(".txt")), "brain", "MRI", label, part
    for patient, part in (("patient07", "train"), ("patient19", "kept_apart")):
        for name in ("t1.nii.gz", "flair.nii.gz"):
            folder = data / "open_ms" / patient
            yield str(folder / name), str(folder / "gold.nii.gz"), "", "brain", "MRI", "multiple sclerosis", part
    yield str(data / "dicom_t1"), "", "", "brain", "MRI", "healthy", "train"


def _thirds(folder: Path) -> list[tuple[Path, str]]:
    images = sorted(folder.glob("*.jpg"), key=lambda path: [int(number) for number in re.findall(r"\d+", path.stem)])
    cut = len(images) * 2 // 3
    return [(image, "train" if position < cut else "kept_apart") for position, image in enumerate(images)]


if __name__ == "__main__":
    source, target = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    with target.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows(rows(source))
