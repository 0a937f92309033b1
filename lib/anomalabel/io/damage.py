"""Damaged files: whatever a format library makes of them becomes one error."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from nrrd import NRRDError
from pydicom.errors import BytesLengthException, InvalidDicomError

from anomalabel.errors import ImageReadError

PARSER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    HeaderDataError,
    InvalidDicomError,
    LookupError,
    NRRDError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    WrapStructError,
    struct.error,
    zlib.error,
)
"""What the format libraries raise on damaged bytes; hardly any of it is documented."""


def truncated(source: Path, detail: str) -> ImageReadError:
    """The error for a file that ends early or whose contents make no sense."""
    return ImageReadError(f"{source} is truncated or corrupt: {detail}.", "Copy or export the file again.")


@contextmanager
def parsing(source: Path) -> Iterator[None]:
    """Around calls of a format library: whatever it raises becomes the error of a damaged file.

    Raises:
        ImageReadError: the library failed; PermissionError passes.
    """
    try:
        yield
    except PermissionError:
        raise
    except PARSER_ERRORS as error:
        detail = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise truncated(source, detail[0].rstrip(".")) from error
