"""How a box tells what was decided on it: by colour, and for eyes that tell colours badly by shade, sign and fill."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

GLYPH_SCALE = 2.0
SELECTED_FILL = 0.15

ACCEPTED, REJECTED = "accepted", "rejected"

YELLOW = (1.0, 0.85, 0.2)
GREEN = (0.0, 0.62, 0.45)
GREY = (0.65, 0.65, 0.65)
CYAN = (0.3, 0.8, 1.0)


@dataclass(frozen=True)
class Look:
    """How a box is drawn; as it stands, that of an open finding.

    Args:
        color: red, green, blue, in [0, 1].
        opacity: of everything.
        sign: glyph type in the middle of the box, None for none.
        fill: opacity of the inside; 0 is empty.
        visible: whether it is drawn at all.
    """

    color: tuple[float, float, float] = YELLOW
    opacity: float = 1.0
    sign: int | None = None
    fill: float = 0.0
    visible: bool = True


def look_of(status: str, user_made: bool = False, selected: bool = False, rejected_visible: bool = True) -> Look:
    """The look of a finding.

    Args:
        status: "open", "accepted" or "rejected".
        user_made: whether a reader drew it.
        selected: whether the views show it just now; then it is never hidden.
        rejected_visible: whether rejected ones are drawn, faintly.
    """
    glyphs = slicer.vtkMRMLMarkupsROIDisplayNode
    fill = SELECTED_FILL if selected else 0.0
    if status == REJECTED:
        opacity = 0.8 if selected else 0.4
        return Look(GREY, opacity, glyphs.ThickCross2D, fill, visible=rejected_visible or selected)
    if user_made:
        return Look(CYAN, sign=glyphs.Diamond2D, fill=fill)
    if status == ACCEPTED:
        return Look(GREEN, sign=glyphs.Circle2D, fill=fill)
    return Look(fill=fill)


def put_on(display: slicer.vtkMRMLMarkupsROIDisplayNode, look: Look) -> None:
    """Give a box its look; setting what is set already tells nobody."""
    display.SetColor(*look.color)
    display.SetSelectedColor(*look.color)
    display.SetOpacity(look.opacity)
    display.SetFillVisibility(look.fill > 0)
    if look.fill > 0:
        display.SetFillOpacity(look.fill)
    display.SetGlyphScale(0.0 if look.sign is None else GLYPH_SCALE)
    if look.sign is not None:
        display.SetGlyphType(look.sign)
    display.SetVisibility(look.visible)
