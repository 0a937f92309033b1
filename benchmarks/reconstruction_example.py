"""Made-up healthy and sick heads to try reconstruction by inpainting on; they hold no patient's image.

    python benchmarks/reconstruction_example.py example
    anomalabel train reconstruction --config brain_mri --healthy example/healthy --out example_unet
    python benchmarks/reconstruction_figure.py --model example_unet --healthy example/normal/head_3.png \
        --sick example/sick/head_0.png --out figure.png

Each image is an axial slice of one averaged head (see `anomalabel.demo.lesion`), turned, stretched, bent, brightened
and made noisy by chance. They are far more alike than patients are, and a model that learned from them is good for
nothing else.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from anomalabel.demo.lesion import BYTE, LesionSettings, load_head, plant_lesion
from anomalabel.volume import FloatArray

LOWEST, HIGHEST = 72, 132
"""Axial slices of the template that are used: from the basal ganglia to above the ventricles."""

HEALTHY, NORMAL, SICK = 120, 8, 8
"""Images to learn from, healthy ones to test on, and sick ones."""

ROTATION_DEGREES, STRETCH = 6.0, 0.06
BEND_PIXELS, BEND_WIDTH = 2.5, 18.0
"""Standard deviation of the displacement, and of the Gaussian that makes it smooth."""

GAMMA, SHADING, NOISE = 0.15, 0.12, 3.0
"""Spread of the logarithm of the exponent, depth of the shading across the image, and noise of 0 to 255."""


@dataclass(frozen=True)
class Chance:
    """How one made-up head differs from the template.

    Args:
        rows, columns: (H, W), where in the template each of its pixels lies.
        exponent: of its intensities.
        shading: (H, W), about 1, what its intensities are multiplied by.
        noise: (H, W), what is added to them, of 0 to 255.
    """

    rows: FloatArray
    columns: FloatArray
    exponent: float
    shading: FloatArray
    noise: FloatArray

    @classmethod
    def drawn(cls, shape: tuple[int, int], draw: Generator) -> Chance:
        """One of many, for pictures of a shape."""
        angle = np.deg2rad(draw.normal(0, ROTATION_DEGREES / 2))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        stretch = np.exp(draw.normal(0, STRETCH / 2, 2))
        middle = (np.array(shape) - 1) / 2
        grid = np.indices(shape).reshape(2, -1) - middle[:, None]
        places = ((turn @ grid) * stretch[:, None] + middle[:, None]).reshape(2, *shape)
        rows, columns = places + np.stack([_smooth(shape, BEND_WIDTH, draw) for _ in range(2)]) * BEND_PIXELS
        exponent = float(np.exp(draw.normal(0, GAMMA)))
        shading = 1 + SHADING * _smooth(shape, max(shape) / 4, draw)
        return cls(rows, columns, exponent, shading, draw.normal(0, NOISE, shape))

    def moved(self, picture: FloatArray) -> FloatArray:
        """A picture's values where the head now has them."""
        moved: FloatArray = map_coordinates(picture.astype(np.float32), [self.rows, self.columns], order=1)
        return moved

    def applied(self, picture: FloatArray) -> FloatArray:
        """(H, W), 0 to 255; noise lies over head and air alike, as in a magnitude image."""
        lit = BYTE * (self.moved(picture) / BYTE) ** self.exponent * self.shading
        return np.clip(np.abs(lit + self.noise), 0, BYTE)


def _smooth(shape: tuple[int, int], width: float, draw: Generator) -> FloatArray:
    """A smooth random field with mean 0 and standard deviation 1."""
    field = gaussian_filter(draw.normal(size=shape), width, mode="wrap")
    smooth: FloatArray = (field - field.mean()) / field.std()
    return smooth


def axial(volume: FloatArray, k: int) -> FloatArray:
    """A slice of an (X, Y, Z) volume, the face upwards."""
    return volume[:, ::-1, k].T


def write_images(folder: Path, seed: int) -> None:
    """Write healthy/ to learn from, normal/ and sick/ to test on, and the lesions' masks beside the sick ones.

    Args:
        folder: made where it is missing.
        seed: of all that is left to chance.
    """
    draw = np.random.default_rng(seed)
    head = load_head()
    shape = axial(head.t1, LOWEST).shape
    for name, count in (("healthy", HEALTHY), ("normal", NORMAL)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture = axial(head.t1, int(draw.integers(LOWEST, HIGHEST + 1)))
            save(Chance.drawn(shape, draw).applied(picture), folder / name / f"head_{number}.png")
    (folder / "sick").mkdir(parents=True, exist_ok=True)
    for number in range(SICK):
        planted = plant_lesion(head, LesionSettings(seed=int(draw.integers(2**31))))
        middle = round(planted.center_ras[2] - head.affine_ras[2, 3])
        chance = Chance.drawn(shape, draw)
        path = folder / "sick" / f"head_{number}.png"
        save(chance.applied(axial(planted.t1, middle)), path)
        truth = chance.moved(axial(planted.truth.astype(np.float32), middle)) > 0.5
        save(truth * BYTE, path.with_name(f"{path.stem}_mask.png"))


def save(picture: FloatArray, path: Path) -> None:
    """As PNG, of values from 0 to 255."""
    Image.fromarray(np.rint(picture).astype(np.uint8)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets healthy/, normal/ and sick/")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write_images(given.folder, given.seed)


if __name__ == "__main__":
    main()
