"""What can go wrong between panel, server and scene; each says its cause and what to do."""

from __future__ import annotations

from .translation import _


class PanelError(Exception):
    """Base of every error that the panel shows.

    Args:
        cause: what was expected and what came.
        remedy: what the user can do about it.
    """

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause} {remedy}")
        self.cause = cause
        self.remedy = remedy


class AddressError(PanelError):
    """The server address is no web address."""


class ServerUnreachableError(PanelError):
    """Nothing answers at the address, or the connection broke."""


class ServerTimeoutError(PanelError):
    """The server took the request and did not answer in time."""


class ServerNotReadyError(PanelError):
    """The server is there, its model is still loading."""


class RequestRefusedError(PanelError):
    """The server names a fault in the request (HTTP 4xx); its own words are the cause."""


class ReplyError(PanelError):
    """The answer is not what an AnomaLabel server sends."""


class SceneError(PanelError):
    """The scene lacks what the work needs, or holds it in a form that cannot be sent or shown."""


def unreadable_image(filename: str) -> SceneError:
    """The error for an image file that cannot be read into the scene."""
    return SceneError(
        _("{filename} cannot be read as an image.").format(filename=filename),
        _("Load it with Slicer's own Add Data, pick it as volume of the scene and run again."),
    )


class BusyError(PanelError):
    """A job runs and only one may run at a time."""

    def __init__(self) -> None:
        super().__init__(_("Another request is still running."), _("Wait for it or press Cancel."))


class RunCancelledError(PanelError):
    """The user stopped the run."""

    def __init__(self) -> None:
        super().__init__(_("The run was cancelled."), _("Press Run to start it again."))


class InternalError(PanelError):
    """A fault of the extension itself; the Python console holds the traceback."""

    def __init__(self) -> None:
        super().__init__(
            _("The request ended by a fault of this extension."),
            _("Open View > Python Console, copy the last error and report it."),
        )


class LoginError(PanelError):
    """The server asks for a login token and got none, or refuses the one it got (HTTP 401, 403)."""


class CaseTakenError(PanelError):
    """Somebody else has the case open; the server's words are the cause."""


class VersionError(PanelError):
    """Server and extension are too far apart in version for what was asked."""


class ServerFailedError(ReplyError):
    """The server, or a proxy on the way to it, failed over the request (HTTP 5xx), or its answer broke off."""


class ActError(PanelError):
    """An act makes no sense as the case stands, such as calling it normal while a finding is accepted."""


class JournalError(PanelError):
    """An act cannot be kept on this computer's disk; it is not done."""


def retryable(error: PanelError) -> bool:
    """Whether the same request may succeed later with nobody doing anything."""
    passing = (ServerUnreachableError, ServerTimeoutError, ServerNotReadyError, ServerFailedError)
    return isinstance(error, passing)
