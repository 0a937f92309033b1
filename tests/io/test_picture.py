"""PNG, JPEG and TIFF."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image

from anomalabel.errors import ImageReadError
from anomalabel.io.read import read_volume

GREY = np.random.default_rng(1).integers(0, 256, (5, 7)).astype(np.uint8)
DEEP = np.random.default_rng(2).integers(0, 65536, (5, 7)).astype(np.uint16)
COLOUR = np.random.default_rng(3).integers(0, 256, (5, 7, 3)).astype(np.uint8)
WEIGHTS = np.array([0.299, 0.587, 0.114])


def test_place_and_type_of_a_picture(tmp_path, itk_affine_lps):
    Image.fromarray(GREY).save(tmp_path / "a.png", dpi=(300, 300))
    volume = read_volume(tmp_path / "a.png")
    np.testing.assert_array_equal(volume.array[0], GREY)
    np.testing.assert_array_equal(volume.affine_ras, np.diag([-1, -1, 1, 1]))
    assert (volume.shape, volume.spatial_dims, volume.spacing_known) == ((1, 5, 7), 2, False)
    Image.fromarray(GREY).save(tmp_path / "b.png")
    np.testing.assert_allclose(volume.affine_lps, itk_affine_lps(SimpleITK.ReadImage(str(tmp_path / "b.png"))))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("pixels", [GREY, DEEP])
def test_grey_8_and_16_bit(tmp_path, name, pixels):
    Image.fromarray(pixels).save(tmp_path / name)
    np.testing.assert_array_equal(read_volume(tmp_path / name).array[0], pixels)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_colour_is_luminance(tmp_path, name):
    Image.fromarray(COLOUR).save(tmp_path / name)
    np.testing.assert_allclose(read_volume(tmp_path / name).array[0], COLOUR @ WEIGHTS, rtol=1e-5)


def test_deep_colour_png_keeps_16_bits(tmp_path):
    deep = np.stack([DEEP, DEEP[::-1], DEEP[:, ::-1]], axis=-1)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(deep, isVector=True), str(tmp_path / "a.png"))
    np.testing.assert_allclose(read_volume(tmp_path / "a.png").array[0], deep @ WEIGHTS, rtol=1e-5)
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[:-30])
    with pytest.raises(ImageReadError, match="truncated or corrupt"):
        read_volume(tmp_path / "a.png")


def test_transparent_pixels_turn_black(tmp_path):
    pixels = np.dstack([COLOUR, np.full(GREY.shape, 255, np.uint8)])
    pixels[0, 0, 3], pixels[0, 1, 3] = 0, 51
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = COLOUR @ WEIGHTS * (pixels[..., 3] / 255)
    np.testing.assert_allclose(read_volume(tmp_path / "a.png").array[0], expected, rtol=1e-5)


def test_grey_with_alpha(tmp_path):
    Image.fromarray(np.dstack([GREY, np.full_like(GREY, 255)]), "LA").save(tmp_path / "a.png")
    np.testing.assert_allclose(read_volume(tmp_path / "a.png").array[0], GREY, rtol=1e-5)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_palette(tmp_path, name):
    picture = Image.fromarray((GREY % 3).astype(np.uint8), "P")
    picture.putpalette([10, 10, 10, 200, 200, 200, 90, 90, 90])
    picture.save(tmp_path / name)
    expected = np.array([10.0, 200.0, 90.0])[GREY % 3]
    depth = 257 if name.endswith("tif") else 1
    np.testing.assert_allclose(read_volume(tmp_path / name).array[0], expected * depth, rtol=0.005)


def test_one_bit(tmp_path):
    Image.fromarray(GREY > 127).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.png").array[0], np.where(GREY > 127, 255, 0))


def test_jpeg_is_turned_as_its_exif_says(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (16, 1))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(ramp).save(tmp_path / "a.jpg", exif=exif, quality=95)
    volume = read_volume(tmp_path / "a.jpg")
    assert volume.shape == (1, 32, 16)
    np.testing.assert_allclose(volume.array[0], ramp.T[:, ::-1], atol=4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"tile": (16, 16)},
        {"photometric": "minisblack", "resolution": (300, 300)},
    ],
)
def test_tiff_variants(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", DEEP, **options)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array[0], DEEP)
    assert not read_volume(tmp_path / "a.tif").spacing_known


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
def test_tiff_compressed_by_libtiff(tmp_path, compression):
    Image.fromarray(GREY).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array[0], GREY)


def test_tiff_planes_of_colour(tmp_path):
    planes = np.moveaxis(COLOUR, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_allclose(read_volume(tmp_path / "a.tif").array[0], COLOUR @ WEIGHTS, rtol=1e-5)


def test_tiff_of_floating_point_keeps_nan_and_counts_it(tmp_path):
    values = GREY.astype(np.float32) / 7
    values[2, 3] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values)
    volume = read_volume(tmp_path / "a.tif")
    np.testing.assert_array_equal(volume.array[0], values)
    assert volume.nonfinite_voxels == 1


def test_inverted_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array[0], 255 - GREY.astype(int))


def test_several_pages(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY, GREY]), photometric="minisblack")
    with pytest.raises(ImageReadError, match="several pages"):
        read_volume(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
@pytest.mark.parametrize("kept_share", [0.05, 0.4, 0.8])
def test_truncated(tmp_path, name, kept_share):
    noise = np.random.default_rng(4).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * kept_share)])
    with pytest.raises(ImageReadError):
        read_volume(tmp_path / name)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_decompression_bomb(tmp_path):
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(b""))
        + png_chunk(b"IEND", b"")
    )
    with pytest.raises(ImageReadError, match="100000 x 100000"):
        read_volume(tmp_path / "a.png")


def test_real_xray(shared_data):
    path = min((shared_data / "chest_xray" / "test" / "normal").iterdir())
    volume = read_volume(path)
    np.testing.assert_allclose(volume.array[0], np.asarray(Image.open(path).convert("L")), atol=1)
