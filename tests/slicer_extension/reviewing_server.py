"""A small server that reviews: worklist, leases, events, masks, studies, training and scoring, all in memory."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email import message_from_bytes
from urllib.parse import parse_qs, unquote, urlsplit

from small_server import INFO, Reply, Request, SmallServer, small_server

ORDERS = ("first", "random", "most_anomalous", "most_uncertain", "most_disagreement")
REASONS = ["artefact", "normal anatomy"]
SECONDS = 900
VERDICTS = {"case_normal": "normal", "case_abnormal": "abnormal"}

REVIEWING_INFO = {
    **INFO,
    "anomalabel": {
        **INFO["anomalabel"],
        "version": "0.1.0",
        "api": 1,
        "login": False,
        "reviewer": None,
        "worklist_orders": list(ORDERS),
        "trainers": [
            {"name": "few_shot_localization", "config_keys": ["config", "healthy"]},
            {"name": "unet_reconstruction", "config_keys": ["config", "healthy"]},
        ],
        "configs": [{**config, "rejection_reasons": REASONS} for config in INFO["anomalabel"]["configs"]],
    },
}


@dataclass
class ReviewingServer:
    """What the server holds; tests change it as they like.

    Args:
        served: the HTTP side.
        studies: file name and content of each case.
        events: of each case, in the order in which they arrived.
        arrivals: (path, event id or hash) of everything that arrived, also of what was known already.
        leases: (reviewer, client) of each case that is open.
        scores: of each case, by task, as the worklist tells them.
        lose: how many answers to events get lost on the way after the event was kept.
        asks_for: the login token that is wanted, "" for none.
        refusals: HTTP status and words for an event, by its action.
        work: what training ("train") and scoring ("scoring") are at, None where there was none.
    """

    served: SmallServer
    studies: dict[str, tuple[str, bytes]]
    events: dict[str, list[dict]] = field(default_factory=dict)
    arrivals: list[tuple[str, str]] = field(default_factory=list)
    masks: dict[str, bytes] = field(default_factory=dict)
    leases: dict[str, tuple[str, str]] = field(default_factory=dict)
    scores: dict[str, dict] = field(default_factory=dict)
    lose: int = 0
    asks_for: str = ""
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    work: dict[str, dict | None] = field(default_factory=lambda: {"train": None, "scoring": None})
    asked: dict[str, dict] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.served.url

    def actions(self, image: str) -> list[str]:
        """What was done to a case, in the order of arrival."""
        return [event["action"] for event in self.events.get(image, [])]

    def answer(self, request: Request) -> Reply:
        """The answer to anything."""
        if self.asks_for and request.headers.get("Authorization") != f"Bearer {self.asks_for}":
            return _json({"detail": "This login token is not known here."}, 401)
        parts = [unquote(part) for part in urlsplit(request.path).path.strip("/").split("/")]
        query = {key: values[0] for key, values in parse_qs(urlsplit(request.path).query).items()}
        route = {
            "info": lambda: _json(REVIEWING_INFO),
            "ready": lambda: _json({"status": "ready"}),
            "datastore": lambda: self._datastore(parts, query, request),
            "worklist": lambda: self._worklist(parts, query, request),
            "reviews": lambda: self._reviews(parts, request),
            "train": lambda: self._work("train", parts, request),
            "scoring": lambda: self._work("scoring", parts, request),
        }.get(parts[0])
        return route() if route else _json({"detail": "Not Found"}, 404)

    def state_of(self, image: str) -> tuple[str, str | None]:
        """("new", "in_review", "second_reader" or "reviewed", verdict)."""
        verdict, asked = None, None
        for event in self.events.get(image, []):
            action, reviewer = event["action"], event["reviewer"]
            if action in VERDICTS:
                verdict, asked = VERDICTS[action], asked if asked == reviewer else None
            elif action == "case_reopened":
                verdict = None
            elif action in {"second_reader", "second_reader_withdrawn"}:
                asked = reviewer if action == "second_reader" else None
        if asked:
            return "second_reader", verdict
        return "reviewed" if verdict else "in_review" if self.events.get(image) else "new", verdict

    def _datastore(self, parts: list[str], query: dict[str, str], request: Request) -> Reply:
        if len(parts) == 1:
            return _json({"name": "studies", "objects": {image: {"image": {}} for image in self.studies}})
        if request.method == "PUT":
            filename, content = _file_of(request)
            self.studies[query["image"]] = (filename, content)
            return _json({"image": query["image"]})
        filename, content = self.studies[query["image"]]
        return Reply(content, headers={"Content-Disposition": f'attachment; filename="{filename}"'})

    def _worklist(self, parts: list[str], query: dict[str, str], request: Request) -> Reply:
        if len(parts) == 1:
            return _json(self._listing(query))
        image = parts[1]
        if request.method == "DELETE":
            released = self.leases.get(image, ("", ""))[1] == query["client"]
            if released:
                del self.leases[image]
            return _json({"image": image, "released": released})
        wanted = json.loads(request.body)
        holder, client = self.leases.get(image, (wanted["reviewer"], wanted["client"]))
        if client != wanted["client"] and holder != wanted["reviewer"]:
            words = f"{holder} has this case open until 12:40 UTC. Take another case, or wait until then."
            return _json({"detail": words}, 409)
        self.leases[image] = (wanted["reviewer"], wanted["client"])
        return _json({"image": image, "reviewer": holder, "until_utc": _now(SECONDS), "seconds": SECONDS})

    def _listing(self, query: dict[str, str]) -> dict:
        order = query["order"]
        images = sorted(self.studies)
        if order == "random":
            images.sort(key=lambda image: hashlib.sha256(f"{query['seed']}{image}".encode()).hexdigest())
        elif order != "first":
            images.sort(key=lambda image: -max([each["image_score"] for each in self._scores(image)], default=-1))
        notes = ["2 cases have no score yet."] if order == "most_anomalous" else []
        return {
            "order": order,
            "orders": list(ORDERS),
            "notes": notes,
            "seconds_per_lease": SECONDS,
            "cases": [self._case(image, query["client"]) for image in images],
        }

    def _scores(self, image: str) -> list[dict]:
        return list(self.scores.get(image, {}).values())

    def _case(self, image: str, client: str) -> dict:
        state, verdict = self.state_of(image)
        last = (self.events.get(image) or [{}])[-1]
        lease = self.leases.get(image)
        return {
            "image": image,
            "state": state,
            "verdict": verdict,
            "reviewer": last.get("reviewer"),
            "utc": last.get("utc"),
            "lease": lease and {"reviewer": lease[0], "until_utc": _now(SECONDS), "mine": lease[1] == client},
            "scores": self.scores.get(image, {}),
            "rank": None,
            "problem": "",
        }

    def _reviews(self, parts: list[str], request: Request) -> Reply:
        image = parts[1]
        if request.method == "GET" and len(parts) == 4:
            known = self.masks.get(parts[3])
            return (
                Reply(known, content_type="application/octet-stream") if known else _json({"detail": "No mask."}, 422)
            )
        kept = self.events.setdefault(image, [])
        if request.method == "GET":
            state, verdict = self.state_of(image)
            return _json({"image": image, "state": state, "verdict": verdict, "events": kept, "warnings": []})
        if request.method == "PUT":
            self.arrivals.append(("mask", parts[3]))
            self.masks[parts[3]] = _file_of(request)[1]
            return _json({"image": image, "sha256": hashlib.sha256(self.masks[parts[3]]).hexdigest()})
        event = json.loads(request.body)
        self.arrivals.append((image, event["event_id"]))
        if event["action"] in self.refusals:
            status, words = self.refusals[event["action"]]
            return _json({"detail": words}, status)
        if event["event_id"] not in {known["event_id"] for known in kept}:
            kept.append({**event, "image": image, "utc": _now()})
        self.lose -= 1
        return _json(next(known for known in kept if known["event_id"] == event["event_id"]), lost=self.lose >= 0)

    def _work(self, kind: str, parts: list[str], request: Request) -> Reply:
        now = self.work[kind]
        if request.method == "POST":
            if now and now["status"] == "RUNNING":
                return _json({"detail": f"{now['model']} is running. Wait for its end, or cancel it."}, 409)
            self.asked[kind] = json.loads(request.body)
            self.work[kind] = working(parts[1], self.asked[kind])
        elif request.method == "DELETE" and now:
            self.work[kind] = {**now, "status": "STOPPED", "details": ["Cancelled after 1 of 4 steps."]}
        return _json(self.work[kind]) if self.work[kind] else _json({"detail": "Nothing ran yet."}, 404)


def working(task: str, params: dict, **changes) -> dict:
    """A training or scoring as the server tells of it."""
    values = {
        "id": "5f0c9a4e-3f0b-4b57-8a55-0d7f3f7b5c01",
        "model": task,
        "request": params,
        "status": "RUNNING",
        "stage": "learning",
        "done": 1,
        "total": 4,
        "percent": 25,
        "seconds_running": 1.5,
        "seconds_left": 120.0,
        "resumes": False,
        "details": ["learning"],
        "error": "",
        "report": None,
        "start_ts": "2025-03-04 05:06:07",
        "end_ts": "",
    }
    return {**values, **changes}


def score(image_score: float, relative: float | None = None) -> dict:
    """What one task's last run said of a case."""
    return {
        "image_score": image_score,
        "relative": relative,
        "uncertainty": None,
        "findings": 1,
        "model": "embedded@0123",
        "utc": "2025-03-04T05:06:07Z",
    }


@contextmanager
def reviewing_server(studies: dict[str, tuple[str, bytes]]) -> Iterator[ReviewingServer]:
    """Serve cases on loopback until the end of the block."""
    with small_server() as served:
        made = ReviewingServer(served, dict(studies))
        for method in ("GET", "POST", "PUT", "DELETE"):
            served.answer(method, "*", made.answer)
        yield made


def _file_of(request: Request) -> tuple[str, bytes]:
    """Name and content of the form field `file`."""
    header = next(value for name, value in request.headers.items() if name.lower() == "content-type")
    message = message_from_bytes(f"Content-Type: {header}\r\n\r\n".encode() + request.body)
    (part,) = message.get_payload()
    # Binary parts come apart at line ends in the email parser, so the content is cut out of the body itself.
    boundary = re.search(r"boundary=([^;]+)", header).group(1).strip('"').encode()
    content = request.body.split(b"--" + boundary)[1].split(b"\r\n\r\n", 1)[1]
    return part.get_filename(), content[: -len(b"\r\n")]


def _now(later_s: float = 0) -> str:
    return (datetime.now(timezone.utc) + timedelta(seconds=later_s)).isoformat()


def _json(value: object, status: int = 200, lost: bool = False) -> Reply:
    return Reply(json.dumps(value).encode(), status, hang_up=lost)
