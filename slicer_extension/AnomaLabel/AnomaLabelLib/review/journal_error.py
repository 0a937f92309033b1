"""What keeps an act from being kept on disk, as the reader sees it."""

from __future__ import annotations

import errno
from pathlib import Path

from ..errors import JournalError
from ..translation import _

FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
NO_RIGHT = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def journal_error(error: OSError, folder: Path) -> JournalError:
    """The error for an act that cannot be kept.

    Args:
        error: of the system.
        folder: of the journal.
    """
    if isinstance(error, TimeoutError):
        cause = _("Another program holds {folder}, where acts are kept.")
        remedy = _("Close other windows of Slicer, then do it again.")
    elif error.errno in FULL:
        cause = _("The disk of {folder}, where acts are kept, is full.")
        remedy = _("Make room on it, then do it again; the last act was not kept.")
    elif error.errno in NO_RIGHT:
        cause = _("{folder}, where acts are kept, may not be written.")
        remedy = _("Get the right to write there, then do it again; the last act was not kept.")
    else:
        cause = _("{folder}, where acts are kept, cannot be used: {reason}.")
        remedy = _("Check that disk, then do it again; the last act was not kept.")
    return JournalError(cause.format(folder=folder, reason=error.strerror or error), remedy)
