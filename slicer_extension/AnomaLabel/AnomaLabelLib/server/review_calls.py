"""The calls that share out cases among reviewers and keep what they decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import CaseTakenError, ReplyError
from ..translation import _
from .calls import Calls, quoted
from .json_fields import JsonFields, parse_json
from .worklist import CASE_STATES, Lease, Worklist, parse_lease, parse_worklist


@dataclass(frozen=True)
class ReviewReply:
    """What the server keeps of one image's review.

    Args:
        events: as JSON, oldest first.
        warnings: such as an event that a crash cut off.
        state: one of `worklist.CASE_STATES`.
    """

    events: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]
    state: str


class ReviewCalls(Calls):
    """Worklist, leases, reviews and masks."""

    def worklist(self, order: str, seed: int = 0) -> Worklist:
        """All cases of the server.

        Args:
            order: one of the server's `worklist_orders`.
            seed: of the order "random": the same one gives the same order.
        """
        query = {"order": order, "seed": str(seed), "client": self.client_id}
        return parse_worklist(self._transport.json("GET", "/worklist", query))

    def lease(self, image: str, reviewer: str) -> Lease:
        """Take a case for this panel, or keep it for longer.

        Raises:
            CaseTakenError: somebody else has it open.
        """
        body = {"reviewer": reviewer, "client": self.client_id}
        return parse_lease(self._transport.json("POST", _lease_path(image), body=body, refusals={409: _taken}))

    def release(self, image: str) -> None:
        """Give a case back."""
        self._transport.call("DELETE", _lease_path(image), {"client": self.client_id})

    def reviews(self, image: str) -> ReviewReply:
        """What reviewers did to an image so far."""
        fields = JsonFields(self._transport.json("GET", f"/reviews/{quoted(image)}"), "reviews", _unreadable)
        return ReviewReply(fields.objects("events"), fields.texts("warnings"), fields.choice("state", CASE_STATES))

    def send_event(self, image: str, body: Mapping[str, Any]) -> None:
        """Have an act of a reviewer kept; sent twice with one `event_id`, it is kept once.

        Returns only where the server itself has said that it holds this event: a proxy's page is no receipt.

        Raises:
            RequestRefusedError: the server does not take this event, whenever it is sent.
        """
        kept = self._transport.json("POST", f"/reviews/{quoted(image)}", body=dict(body))
        if JsonFields(kept, "event", _unreadable).text("event_id").lower() != str(body["event_id"]).lower():
            raise _unreadable(_("it speaks of another event than the one that was sent"))

    def send_mask(self, image: str, sha256: str, content: bytes) -> None:
        """Have a label mask kept, before the event that names it.

        Args:
            sha256: of the content, 64 hexadecimal digits.
            content: an NRRD or NIfTI file on the image's grid.

        Raises:
            RequestRefusedError: the server does not take this mask.
        """
        files = {"file": (f"{sha256}.nrrd", content, "application/octet-stream")}
        path = f"/reviews/{quoted(image)}/masks/{quoted(sha256)}"
        kept = parse_json(self._transport.call("PUT", path, files=files, long=True).content)
        if JsonFields(kept, "mask", _unreadable).text("sha256").lower() != sha256.lower():
            raise _unreadable(_("it speaks of another mask than the one that was sent"))

    def mask(self, image: str, sha256: str) -> bytes:
        """The file of a label mask that was sent before."""
        path = f"/reviews/{quoted(image)}/masks/{quoted(sha256)}"
        return self._transport.call("GET", path, long=True).content


def _lease_path(image: str) -> str:
    return f"/worklist/{quoted(image)}/lease"


def _taken(words: str) -> CaseTakenError:
    return CaseTakenError(words, _("Press Next for the next free case."))


def _unreadable(what: str) -> ReplyError:
    return ReplyError(
        _("The server's answer about a review cannot be read: {what}.").format(what=what),
        _("Compare the versions of server and extension."),
    )
