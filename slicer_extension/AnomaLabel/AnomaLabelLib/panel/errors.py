"""What the reader cannot do just now, and what to do first."""

from __future__ import annotations

from ..errors import SceneError
from ..translation import _
from .keys import key_of


def no_case() -> SceneError:
    """An act on a case while none is open."""
    return SceneError(_("No case is open."), _("Open one in the worklist; a volume of your own is no case."))


def no_finding() -> SceneError:
    """An act on a finding while none is selected."""
    return SceneError(_("No finding is selected."), _("Click one in the table, or press the key for the next one."))


def no_image_of_case() -> SceneError:
    """A box without an image to lie in."""
    return SceneError(_("The image of this case is not in the scene."), _("Open the case again in the worklist."))


def not_while_editing() -> SceneError:
    """A second box while one is being dragged."""
    return SceneError(
        _("A box is being dragged."),
        _("Press {keep} to keep it, or {leave} to leave it as it was.").format(
            keep=key_of("editing.toggle"), leave=key_of("editing.drop")
        ),
    )


def read_first() -> SceneError:
    """An act on findings while the hint is withheld."""
    return SceneError(
        _("You have not given your own verdict yet."),
        _("Press {normal} for a normal or {abnormal} for an abnormal case; then mark its findings.").format(
            normal=key_of("review.case_normal"), abnormal=key_of("review.case_abnormal")
        ),
    )


def not_connected() -> SceneError:
    """An act that needs a server."""
    return SceneError(_("No server is connected."), _("Give its address under Settings and press Connect."))


def no_reviewer() -> SceneError:
    """A review without a name beside it."""
    return SceneError(
        _("Nobody knows who reviews."), _("Write your name under Settings; it stands beside what you decide.")
    )


def no_segments() -> SceneError:
    """Sending segments while there are none."""
    return SceneError(_("This case has no segment yet."), _("Select a finding and press Grow segment first."))


def boxes_are_hidden() -> SceneError:
    """A box that is to be dragged and cannot be seen."""
    return SceneError(
        _("The boxes are hidden."), _("Show them with {key}, then edit.").format(key=key_of("results.toggle_boxes"))
    )


def no_result() -> SceneError:
    """A segment that is to be grown from a heatmap while there is none."""
    return SceneError(_("This case has no result to grow a segment from."), _("Press Run under Ask first."))


def image_closed(case: str) -> SceneError:
    """The scene was closed, or the image removed by hand, while its case was open."""
    return SceneError(
        _("The image of {case} is not in the scene any more, and neither are segments that were not sent.").format(
            case=case
        ),
        _("What you decided is kept: open the case again under Cases."),
    )
