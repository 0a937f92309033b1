"""One HTTP call with its limits: it ends in a whole answer or in a `PanelError`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import requests
from requests.packages.urllib3.exceptions import ProtocolError, ReadTimeoutError

from ..errors import (
    AddressError,
    LoginError,
    PanelError,
    ReplyError,
    ServerFailedError,
    ServerTimeoutError,
    ServerUnreachableError,
)
from ..translation import _
from .address import parse_address
from .json_fields import parse_json
from .refusals import Refusals, refusal

CHUNK_BYTES = 1 << 20
MAXIMUM_TEXT_BYTES = 16 << 20


@dataclass(frozen=True)
class Limits:
    """Seconds to wait and bytes to accept.

    Args:
        connect_s: for the connection, and for the server to take in a further piece of an upload.
        answer_s: for a short answer.
        result_s: for a run's result.
        result_bytes: largest result or study that is taken in.
    """

    connect_s: float = 5.0
    answer_s: float = 15.0
    result_s: float = 1800.0
    result_bytes: int = 2 << 30


@dataclass(frozen=True)
class Answer:
    """A whole answer of status 200."""

    headers: requests.structures.CaseInsensitiveDict
    content: bytes


class Transport:
    """The way to one server.

    Args:
        address: as a user types it.
        token: sent along as login, "" for none.

    Raises:
        AddressError: the address is malformed.
        LoginError: the token holds what no token can hold.
    """

    def __init__(self, address: str, limits: Limits, token: str = "") -> None:
        self.address = parse_address(address)
        self._limits = limits
        self._token = token.strip()
        if not (self._token.isascii() and self._token.isprintable()) or " " in self._token:
            raise LoginError(
                _("The login token holds spaces or characters that no token has."),
                _("Copy it anew under Settings, as whoever runs the server gave it to you."),
            )

    def json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        refusals: Refusals | None = None,
    ) -> object:
        """The JSON that the server answers with; arguments as for `call`."""
        return parse_json(self.call(method, path, query, body, refusals=refusals).content)

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        files: Mapping[str, tuple] | None = None,
        long: bool = False,
        refusals: Refusals | None = None,
    ) -> Answer:
        """Ask once.

        Args:
            path: begins with a slash; names inside are already quoted.
            body: sent as JSON, None for none.
            files: parts of a form, as `requests` takes them.
            long: wait as long, and accept as much, as for a result.
            refusals: what statuses mean for this call alone, by status; each is given the server's words.

        Raises:
            PanelError: no whole answer, or one that says no.
        """
        patience_s = self._limits.result_s if long else self._limits.answer_s
        with self._connection_errors(patience_s), requests.Session() as session:
            # An http_proxy or .netrc of the environment would send images and passwords elsewhere.
            session.trust_env = False
            prepared = session.prepare_request(
                requests.Request(method, self.address + path, self._login(), files, params=query, json=body)
            )
            if isinstance(prepared.body, bytes):
                # In pieces: sent whole, a large upload would have to be through within the time to connect.
                prepared.body = io.BytesIO(prepared.body)
            timeout = (self._limits.connect_s, patience_s)
            with session.send(prepared, timeout=timeout, stream=True, allow_redirects=False) as reply:
                content = _read(reply, self._limits.result_bytes if long and reply.ok else MAXIMUM_TEXT_BYTES)
        if reply.status_code != 200:
            raise refusal(reply.status_code, reply.headers, content, bool(self._token), refusals or {})
        return Answer(reply.headers, content)

    def _login(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    @contextlib.contextmanager
    def _connection_errors(self, patience_s: float) -> Iterator[None]:
        try:
            yield
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise AddressError(
                _("'{address}' is not a server address.").format(address=self.address),
                _("Correct the server address."),
            ) from error
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
            raise _half_an_answer() from error
        except requests.exceptions.RequestException as error:
            raise self._unanswered(error, patience_s) from error

    def _unanswered(self, error: requests.exceptions.RequestException, patience_s: float) -> PanelError:
        reason = error.args[0] if error.args else None
        if isinstance(error, requests.exceptions.ReadTimeout) or isinstance(reason, ReadTimeoutError):
            return ServerTimeoutError(
                _("{address} took the request but sent nothing for {seconds:g} s.").format(
                    address=self.address, seconds=patience_s
                ),
                _("Try again; if it stays so, look at the server's log."),
            )
        if isinstance(error, requests.exceptions.SSLError):
            return ServerUnreachableError(
                _("No secure connection to {address} comes about.").format(address=self.address),
                _("Check that the server speaks https and that this computer trusts its certificate."),
            )
        if isinstance(reason, ProtocolError):
            return ServerUnreachableError(
                _("{address} broke the connection before it answered.").format(address=self.address),
                _("Check that the server still runs, then try again."),
            )
        return ServerUnreachableError(
            _("{address} cannot be reached.").format(address=self.address),
            _("Check that the server runs and that address and port are right."),
        )


def _read(reply: requests.Response, limit: int) -> bytes:
    content = bytearray()
    for chunk in reply.iter_content(CHUNK_BYTES):
        content += chunk
        if len(content) > limit:
            raise ReplyError(
                _("The server's answer is larger than {limit} MiB.").format(limit=limit >> 20),
                _("Check that the address is that of an AnomaLabel server."),
            )
    stated = reply.headers.get("Content-Length", "")
    # Older urllib3 hands over a body that broke off as if it were whole.
    if stated.isdigit() and "Content-Encoding" not in reply.headers and len(content) < int(stated):
        raise _half_an_answer()
    return bytes(content)


def _half_an_answer() -> ServerFailedError:
    return ServerFailedError(_("The connection broke in the middle of the answer."), _("Try again."))
