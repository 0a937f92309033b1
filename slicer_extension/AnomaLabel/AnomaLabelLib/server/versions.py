"""Whether server and extension fit together, and which of them to update."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import VersionError
from ..translation import _
from .server_facts import API, ServerFacts


@dataclass(frozen=True)
class VersionCheck:
    """What a user should know of the versions.

    Args:
        cause, remedy: both "" where server and extension fit.
        reviewing: whether this server can be reviewed with; where not, `cause` says why.
    """

    cause: str = ""
    remedy: str = ""
    reviewing: bool = True


def compare(extension_version: str, facts: ServerFacts) -> VersionCheck:
    """Compare the versions of extension and server.

    The number of the interface decides whether reviewing works; another major or minor version is worth a warning.
    """
    names = {"server": facts.version or "?", "extension": extension_version}
    update_server = _("Ask who runs the server to update AnomaLabel to {version}.").format(version=extension_version)
    update_extension = _("Update the extension in Slicer's Extensions Manager to {version}.").format(
        version=facts.version or "?"
    )
    if facts.api is None or facts.api < API:
        cause = _(
            "The server (version {server}) is older than this extension ({extension}): runs work, reviewing does not."
        )
        return VersionCheck(cause.format(**names), update_server, reviewing=False)
    if facts.api > API:
        cause = _(
            "This extension (version {extension}) is too old for the server ({server}): runs may work, reviewing "
            "does not."
        )
        return VersionCheck(cause.format(**names), update_extension, reviewing=False)
    ours, theirs = _major_minor(extension_version), _major_minor(facts.version)
    if ours == theirs:
        return VersionCheck()
    if ours is None or theirs is None:
        cause = _("The versions of server ({server}) and extension ({extension}) cannot be compared.")
        return VersionCheck(cause.format(**names), _("If something fails, install the same version of both."))
    cause = _("Server (version {server}) and extension ({extension}) are of different versions.")
    return VersionCheck(cause.format(**names), update_server if theirs < ours else update_extension)


def require_reviewing(facts: ServerFacts) -> None:
    """Return where the server can take reviews.

    Raises:
        VersionError: server and extension speak different interfaces.
    """
    if not facts.reviewing:
        raise VersionError(
            _("The server (version {version}) does not take reviews from this extension.").format(
                version=facts.version or "?"
            ),
            _("Bring server and extension to the same version; what was reviewed stays on this computer until then."),
        )


def _major_minor(version: str) -> tuple[int, int] | None:
    """The first two numbers, None where it does not begin with them."""
    found = re.match(r"(\d{1,6})\.(\d{1,6})(?!\d)", version)
    return (int(found[1]), int(found[2])) if found else None
