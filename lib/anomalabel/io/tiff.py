"""The pixels of a single-page TIFF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from anomalabel.errors import ImageReadError
from anomalabel.io.colour import brightness_over_black, luminance, picture_brightness
from anomalabel.io.damage import parsing
from anomalabel.io.limits import require_picture_size
from anomalabel.volume import FloatArray

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_tiff_pixels(path: Path) -> FloatArray:
    """(H, W) brightness of a single-page TIFF, grey, palette or colour; of a pyramid its full resolution.

    Raises:
        ImageReadError: truncated, corrupt, several pages, complex pixels, or more pixels than a picture has.
    """
    with parsing(path), tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        require_picture_size(page.imagewidth, page.imagelength, path)
        _require_one_page(tiff, path)
        palette = page.colormap if page.photometric == tifffile.PHOTOMETRIC.PALETTE else None
        try:
            stored = np.asarray(tiff.series[0].asarray())
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return _read_with_libtiff(path)
        stored = _as_page(stored, page)
    if stored.dtype.kind not in "uifb":
        raise ImageReadError(f"{path} holds {stored.dtype} pixels.", "Save it as grey or colour.")
    if palette is not None:
        return luminance(np.moveaxis(palette[:, stored], 0, -1))
    if stored.ndim == 3:
        return brightness_over_black(stored) if stored.dtype.kind == "u" else luminance(stored)
    values = stored.astype(np.float32)
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        return np.float32(np.iinfo(stored.dtype).max if stored.dtype.kind == "u" else values.max()) - values
    return values


def _require_one_page(tiff: tifffile.TiffFile, path: Path) -> None:
    page = tiff.pages.first
    pixels = page.imagewidth * page.imagelength * page.samplesperpixel
    if int(np.prod(tiff.series[0].shape, dtype=object)) != pixels or page.samplesperpixel not in {1, 3, 4}:
        raise ImageReadError(
            f"{path} holds several pages or channels: {tiff.series[0].shape}.",
            "Save the page to look at as one picture.",
        )


def _as_page(stored: np.ndarray, page: tifffile.TiffPage) -> np.ndarray:
    """(H, W) or (H, W, channels)."""
    shape = (page.imagelength, page.imagewidth)
    if page.samplesperpixel == 1:
        return stored.reshape(shape)
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
        return np.moveaxis(stored.reshape(page.samplesperpixel, *shape), 0, -1)
    return stored.reshape(*shape, page.samplesperpixel)


def _read_with_libtiff(path: Path) -> FloatArray:
    """Compressed TIFF through Pillow, which carries libtiff."""
    with parsing(path), Image.open(path, formats=("TIFF",)) as picture:
        picture.load()
        return picture_brightness(picture)
