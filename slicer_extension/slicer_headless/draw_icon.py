"""Draws the module's icon: a head in outline, a warm spot, and the box around it."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SIZE = 128
SCALE = 8
"""Drawn this many times larger, then shrunk, for smooth edges."""

NIGHT = (24, 34, 56, 255)
SKULL = (206, 216, 230, 255)
BRAIN = (96, 112, 140, 255)
RED = (226, 62, 40, 255)
YELLOW = (255, 214, 64, 255)


def draw_icon() -> Image.Image:
    """The icon, 128 x 128 RGBA."""
    side = SIZE * SCALE
    icon = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    pen = ImageDraw.Draw(icon)
    pen.rounded_rectangle(_at(2, 2, 126, 126), radius=24 * SCALE, fill=NIGHT)
    pen.ellipse(_at(24, 12, 104, 116), fill=BRAIN, outline=SKULL, width=5 * SCALE)
    pen.line([*_at(64, 20, 64, 108)], fill=NIGHT, width=2 * SCALE)
    spot = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    ImageDraw.Draw(spot).ellipse(_at(69, 39, 95, 69), fill=RED)
    icon.alpha_composite(spot.filter(ImageFilter.GaussianBlur(2 * SCALE)))
    glow = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    ImageDraw.Draw(glow).ellipse(_at(76, 47, 88, 61), fill=YELLOW)
    icon.alpha_composite(glow.filter(ImageFilter.GaussianBlur(2 * SCALE)))
    ImageDraw.Draw(icon).rectangle(_at(64, 34, 100, 74), outline=YELLOW, width=3 * SCALE)
    return icon.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _at(*places: float) -> tuple[int, ...]:
    return tuple(round(place * SCALE) for place in places)


if __name__ == "__main__":
    draw_icon().save(Path(sys.argv[1]))
