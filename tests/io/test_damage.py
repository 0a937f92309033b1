"""Whatever happens to a file, the reader answers with an image or with its own error."""

from __future__ import annotations

import nibabel
import nrrd
import numpy as np
import pytest
import tifffile
from PIL import Image

from anomalabel.errors import ImageReadError
from anomalabel.io.read import read_volume
from anomalabel.volume import Volume

PIXELS = np.random.default_rng(1).integers(0, 256, (8, 9)).astype(np.uint8)
STACK = np.stack([PIXELS] * 3)

DAMAGES_PER_FORMAT = 150


@pytest.fixture(params=["a.nii", "a.nii.gz", "a.nrrd", "a.png", "a.jpg", "a.tif", "a.dcm"])
def whole_file(request, tmp_path, write_dicom):
    path = tmp_path / request.param
    if path.suffix in {".nii", ".gz"}:
        nibabel.save(nibabel.Nifti1Image(STACK, np.eye(4)), path)
    elif path.suffix == ".nrrd":
        nrrd.write(str(path), STACK, {"space": "LPS", "space directions": np.eye(3), "space origin": [0, 0, 0]})
    elif path.suffix == ".tif":
        tifffile.imwrite(path, PIXELS, compression="zlib")
    elif path.suffix == ".dcm":
        write_dicom(path, PIXELS, PixelSpacing=[1, 1], RescaleSlope=1, RescaleIntercept=0)
    else:
        Image.fromarray(PIXELS).save(path)
    return path


def cause_of_refusal(path) -> str | None:
    try:
        assert isinstance(read_volume(path), Volume)
    except ImageReadError as error:
        return error.cause
    return None


@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes(whole_file):
    whole = whole_file.read_bytes()
    generator = np.random.default_rng(7)
    refused = 0
    for _ in range(DAMAGES_PER_FORMAT):
        damaged = bytearray(whole)
        for place in generator.integers(0, min(len(whole), 700), generator.integers(1, 6)):
            damaged[place] = generator.integers(0, 256)
        length = generator.integers(1, len(whole) + 1) if generator.random() < 0.3 else len(whole)
        whole_file.write_bytes(damaged[:length])
        cause = cause_of_refusal(whole_file)
        assert cause is None or str(whole_file) in cause
        refused += cause is not None
    assert refused > DAMAGES_PER_FORMAT // 10
