"""PNG, JPEG and TIFF pictures: one grey slice of unknown pixel size."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import SimpleITK
from PIL import Image, ImageOps

from anomalabel.errors import ImageReadError
from anomalabel.io.colour import brightness_over_black, picture_brightness
from anomalabel.io.damage import parsing
from anomalabel.io.limits import require_picture_size
from anomalabel.io.tiff import TIFF_MAGICS, read_tiff_pixels
from anomalabel.volume import LPS_FROM_RAS, FloatArray, Matrix, Volume

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JPEG_MAGIC = b"\xff\xd8\xff"
PICTURE_MAGICS = (PNG_MAGIC, JPEG_MAGIC, *TIFF_MAGICS)

PNG_HEADER_BYTES = 26
PNG_TRUE_COLOUR = {2, 6}


def picture_affine_ras(row_mm: float = 1.0, column_mm: float = 1.0) -> Matrix:
    """(4, 4) affine of a picture: pixel (i, j) lies at LPS (i * column_mm, j * row_mm, 0), as ITK loads it."""
    return LPS_FROM_RAS @ np.diag([column_mm, row_mm, 1.0, 1.0])


def read_picture(path: Path) -> Volume:
    """Read a picture as one slice; colour becomes luminance, transparent pixels turn black, EXIF rotation is applied.

    Resolution tags are not trusted: they describe paper, not tissue.

    Raises:
        ImageReadError: truncated, corrupt, several pages, or more pixels than a picture has.
    """
    with path.open("rb") as stream:
        head = stream.read(PNG_HEADER_BYTES)
    pixels = read_tiff_pixels(path) if head.startswith(TIFF_MAGICS) else _read_png_or_jpeg(path, head)
    return Volume(
        array=pixels[np.newaxis],
        affine_ras=picture_affine_ras(),
        source=str(path),
        spacing_known=False,
        spatial_dims=2,
    )


def _read_png_or_jpeg(path: Path, head: bytes) -> FloatArray:
    """(H, W) brightness."""
    if head.startswith(PNG_MAGIC) and len(head) == PNG_HEADER_BYTES:
        width, height, depth, colour_type = struct.unpack(">IIBB", head[16:])
        require_picture_size(width, height, path)
        if depth == 16 and colour_type in PNG_TRUE_COLOUR:
            return _read_deep_colour_png(path)
    try:
        with parsing(path), Image.open(path, formats=("PNG", "JPEG")) as picture:
            require_picture_size(*picture.size, path)
            picture.load()
            return picture_brightness(ImageOps.exif_transpose(picture))
    except Image.DecompressionBombError as error:
        raise ImageReadError(f"{path} claims too many pixels: {error}.", "Give the original picture.") from error


def _read_deep_colour_png(path: Path) -> FloatArray:
    """16-bit colour, of which Pillow would keep 8 bits; Pillow checks the file, which ITK does not."""
    with parsing(path):
        with Image.open(path, formats=("PNG",)) as picture:
            picture.verify()
        return brightness_over_black(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))))
