"""Login tokens: random texts that people keep, of which the server's file holds hashes alone.

The file has one line `NAME SHA256HEX` for each token; empty lines and lines that begin with # are passed over. A name
may have several tokens, one for each of its computers. A token has 256 random bits, so that its plain hash tells nobody
the token.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from anomalabel.errors import ConfigError, OutputError

logger = logging.getLogger(__name__)

TOKEN_BYTES = 32
MAXIMUM_NAME = 200
_LINE = re.compile(r"(?P<name>\S.*?)\s+(?P<sha256>[0-9a-fA-F]{64})")


@dataclass(frozen=True)
class TokenOwner:
    """Whose token has which hash."""

    name: str
    sha256: str


class TokenFile:
    """The tokens that are good now: the file is read again once it has changed, so that one can be withdrawn.

    Args:
        path: of the file.

    Raises:
        ConfigError: it cannot be read, everybody may write it, a line is no token's, or it holds none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state, self._owners = _state_of(path), load_tokens(path)

    def owner(self, token: str) -> str | None:
        """Whose token it is, None where it is nobody's.

        While the file cannot be read nobody has a token, and a line that is none of a token is passed over; the log
        says so.
        """
        self._read_if_changed()
        sha256 = hash_of(token)
        found = None
        for owner in self._owners:
            # All are compared, so that the time tells nothing.
            if hmac.compare_digest(owner.sha256, sha256):
                found = owner.name
        return found

    def _read_if_changed(self) -> None:
        state = _state_of(self._path)
        if state == self._state:
            return
        self._state = state
        try:
            self._owners, problems = parse_tokens(self._path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            self._owners, problems = (), [f"cannot be read ({error}), so nobody is let in"]
        logger.info("The token file was read again: %d tokens.", len(self._owners))
        for problem in problems:
            logger.error("%s %s.", self._path, problem)


def load_tokens(path: Path) -> tuple[TokenOwner, ...]:
    """The tokens of a file, all of whose lines have to be good.

    Raises:
        ConfigError: it cannot be read, everybody may write it, a line is no token's, or it holds none.
    """
    make_one = f"Make one with: anomalabel token NAME --tokens {path}"
    try:
        text, mode = path.read_text(encoding="utf-8"), path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise ConfigError(f"The token file {path} cannot be read: {reason}.", make_one) from error
    if mode & stat.S_IWOTH:
        raise ConfigError(f"Everybody may write the token file {path}.", f"Correct it with: chmod 600 {path}")
    owners, problems = parse_tokens(text)
    if problems:
        raise ConfigError(f"The token file {path} {problems[0]}.", "Correct or remove this line.")
    if not owners:
        raise ConfigError(f"The token file {path} holds no token.", make_one)
    return owners


def parse_tokens(text: str) -> tuple[tuple[TokenOwner, ...], list[str]]:
    """The tokens in a file's text, and what is wrong with other lines; never their text, which may be a token."""
    owners, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            problems.append(f"holds no NAME and hash in line {number}")
        else:
            owners.append(TokenOwner(found["name"], found["sha256"].lower()))
    return tuple(owners), problems


def add_token(path: Path, name: str) -> str:
    """Make a token for a person and append its hash to a file, which is made for its owner alone where it is missing.

    Returns:
        the token, which is kept nowhere else.

    Raises:
        ConfigError: the name is none.
        OutputError: the file cannot be written.
    """
    if not name.strip() or name != name.strip() or len(name) > MAXIMUM_NAME or name.startswith("#"):
        raise ConfigError(f"'{name}' is no reviewer's name.", f"Give one of 1 to {MAXIMUM_NAME} characters.")
    if not name.isprintable():
        raise ConfigError("The reviewer's name holds a control character.", "Give a name in one line.")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    line = f"{name} {hash_of(token)}\n".encode()
    try:
        _append(path, line)
    except OSError as error:
        raise OutputError(
            f"The token file {path} cannot be written: {error.strerror}.", "Choose a file in a folder that is there."
        ) from error
    return token


def hash_of(token: str) -> str:
    """SHA-256 of a token, lower-case hexadecimal."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _append(path: Path, line: bytes) -> None:
    """Append in one write, which keeps owner and rights of a file that is there."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        unended = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, b"\n" + line if unended else line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _state_of(path: Path) -> tuple[int, int, int] | None:
    """The state of a file: time of change in ns, size, inode; None where it cannot be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
