"""Undo and redo of a reader's acts on one case, each as an event of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..errors import ActError
from ..translation import _
from .acts import ActContext, again
from .case import CaseFold
from .event import FINDING_ACTIONS, VERDICTS, ReviewEvent
from .reviewed import ACCEPTED, NORMAL, OPEN, REJECTED, CaseReview, ReviewedFinding
from .row import Row, finding_row

VERDICT_ACTIONS = {verdict: action for action, verdict in VERDICTS.items()}
UNDOABLE = frozenset({*FINDING_ACTIONS, *VERDICTS, "case_reopened", "second_reader", "second_reader_withdrawn"})
"""A verdict said before the hint was shown stands for ever, and a mask is replaced by sending another."""


class History:
    """What the reader did on the open case, latest last.

    `undo` and `redo` move at once and give the event to be kept; where it cannot be kept, rebuild the history from
    the events that were.
    """

    def __init__(self) -> None:
        self._done: list[_Act] = []
        self._undone: list[_Undone] = []

    @classmethod
    def rebuilt(cls, own: Iterable[ReviewEvent], among: Iterable[ReviewEvent] | None = None) -> History:
        """The history after a restart.

        Args:
            own: the reader's events on the case, oldest first.
            among: all events of the case, of which those are some; None where there are no others.
        """
        own = tuple(own)
        ids = {event.event_id for event in own}
        history, case = cls(), CaseFold()
        for event in own if among is None else among:
            before = _part(case, event)
            case.add(event)
            if event.event_id in ids:
                history._take(event, before, _part(case, event))
        history._drop_what_others_changed(case)
        return history

    @property
    def can_undo(self) -> bool:
        """Whether there is an act to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is an act to do again."""
        return bool(self._undone)

    @property
    def undo_text(self) -> str:
        """What would be taken back, "" for nothing."""
        return _text(self._done[-1]) if self._done else ""

    @property
    def redo_text(self) -> str:
        """What would be done again, "" for nothing."""
        return _text(self._undone[-1].act) if self._undone else ""

    def note(self, event: ReviewEvent, before: CaseReview) -> None:
        """Remember an act that is kept; events that `undo` and `redo` gave are known already.

        Args:
            before: the case without the event.
        """
        if self._knows(event.event_id):
            return
        case = CaseFold(before)
        part = _part(case, event)
        case.add(event)
        self._take(event, part, _part(case, event))

    def undo(self, case: CaseReview, context: ActContext) -> ReviewEvent | None:
        """The event that brings back what was before the last act, None where there is none.

        Raises:
            ActError: somebody has changed the same thing since, or no event of this reader could bring back exactly
                what was; the act is then left out, and the next undo goes on to the one before it.
        """
        if not self._done:
            return None
        act = self._done.pop()
        if _part(CaseFold(case), act.event) != act.after or _contradicts(case, act.before):
            raise _changed_since(act)
        event = replace(_reverse(act, context), undoes=act.event.event_id)
        if not _gives(case, event, act.before):
            raise _not_restorable(act)
        self._undone.append(_Undone(act, event.event_id))
        return event

    def redo(self, case: CaseReview, context: ActContext) -> ReviewEvent | None:
        """The last act taken back, done again as an event of its own; None where there is none.

        Raises:
            ActError: somebody has changed the same thing since; the act is then left out.
        """
        if not self._undone:
            return None
        undone = self._undone.pop()
        event = again(undone.act.event, undone.undo_id, context)
        act = undone.act
        unchanged = _part(CaseFold(case), event) == act.before and not _contradicts(case, act.after)
        if not unchanged or not _gives(case, event, act.after):
            raise _changed_since(act)
        self._done.append(replace(act, event=event))
        return event

    def _take(self, event: ReviewEvent, before: _Part, after: _Part) -> None:
        if event.action not in UNDOABLE:
            return
        undone = next((place for place, act in enumerate(self._done) if act.event.event_id == event.undoes), None)
        redone = next((place for place, each in enumerate(self._undone) if each.undo_id == event.undoes), None)
        if event.undoes is not None and undone is not None:
            self._undone.append(_Undone(self._done[undone], event.event_id))
            del self._done[undone:]
        elif event.undoes is not None and redone is not None:
            self._done.append(replace(self._undone[redone].act, event=event))
            del self._undone[redone:]
        else:
            self._done.append(_Act(event, before, after))
            self._undone.clear()

    def _knows(self, event_id: str) -> bool:
        done = any(act.event.event_id == event_id for act in self._done)
        return done or any(each.undo_id == event_id for each in self._undone)

    def _drop_what_others_changed(self, case: CaseFold) -> None:
        """An act may be taken back only while the last of its kind left things as they are."""
        latest: set[str | None] = set()
        kept = []
        for act in reversed(self._done):
            about = act.event.finding_id
            if about in latest or _part(case, act.event) == act.after:
                kept.append(act)
                latest.add(about)
        self._done = kept[::-1]


@dataclass(frozen=True)
class _Part:
    """As much of a case as one act can change: a finding, or the verdicts; equal where people see no difference."""

    finding: ReviewedFinding | None = None
    verdict: str | None = None
    standing: frozenset[tuple[str, str]] = frozenset()
    requested_by: str | None = None


@dataclass(frozen=True)
class _Act:
    event: ReviewEvent
    before: _Part
    after: _Part


@dataclass(frozen=True)
class _Undone:
    act: _Act
    undo_id: str


def _part(case: CaseFold, event: ReviewEvent) -> _Part:
    if event.finding_id is not None:
        known = case.finding(event.finding_id)
        if known is None or (known.status == OPEN and not known.user_made and not known.edited):
            return _Part()
        # Who said it last and when is no part of what is shown: taking an act back is an act too.
        return _Part(replace(known, original=None, reviewer="", utc=None))
    said = case.result()
    return _Part(
        verdict=said.verdict,
        standing=frozenset((each.reviewer, each.verdict) for each in said.standing),
        requested_by=said.requested_by if said.second_reader else None,
    )


def _gives(case: CaseReview, event: ReviewEvent, wanted: _Part) -> bool:
    fold = CaseFold(case)
    fold.add(event)
    return _part(fold, event) == wanted


def _contradicts(case: CaseReview, wanted: _Part) -> bool:
    return case.verdict == NORMAL and wanted.finding is not None and wanted.finding.status == ACCEPTED


def _reverse(act: _Act, context: ActContext) -> ReviewEvent:
    """The event that would bring back what was before an act."""
    event, before = act.event, act.before
    if event.finding_id is not None:
        return _reverse_on_finding(event, before.finding, act.after.finding, context)
    if event.action == "second_reader":
        return context.event("second_reader_withdrawn")
    if event.action == "second_reader_withdrawn":
        return context.event("second_reader")
    own = dict(before.standing).get(event.reviewer)
    return context.event("case_reopened" if own is None else VERDICT_ACTIONS[own])


def _reverse_on_finding(
    event: ReviewEvent, before: ReviewedFinding | None, after: ReviewedFinding | None, context: ActContext
) -> ReviewEvent:
    about = event.finding_id
    now, then = _row(after), _row(before)
    if event.action == "added":
        return context.event("withdrawn", finding_id=about, before=now)
    if event.action == "withdrawn":
        return context.event("added", finding_id=about, after=then)
    if before is None or before.status == OPEN:
        return context.event("reopened", finding_id=about, before=now, after=then or event.before)
    if before.status == REJECTED:
        return context.event("rejected", finding_id=about, before=then, reason=before.reason)
    return context.event("accepted", finding_id=about, before=now, after=then)


def _row(known: ReviewedFinding | None) -> Row | None:
    if known is None or known.finding is None:
        return None
    return finding_row(known.finding, known.method, known.origin)


def _text(act: _Act) -> str:
    event, label = act.event, _label(act.event)
    texts = {
        "accepted": _("accept {label}"),
        "rejected": _("reject {label}"),
        "edited": _("edit the box of {label}"),
        "added": _("add {label}"),
        "reopened": _("reopen {label}"),
        "withdrawn": _("take away {label}"),
        "case_normal": _("call the case normal"),
        "case_abnormal": _("call the case abnormal"),
        "case_reopened": _("reopen the case"),
        "second_reader": _("ask for a second reader"),
        "second_reader_withdrawn": _("withdraw the request for a second reader"),
    }
    return texts[event.action].format(label=label)


def _label(event: ReviewEvent) -> str:
    label = (event.after or event.before or {}).get("label")
    return label if isinstance(label, str) and label else _("the finding")


def _changed_since(act: _Act) -> ActError:
    return ActError(
        _("'{act}' cannot be taken back: somebody has changed the same thing since.").format(act=_text(act)),
        _("Look at it as it is now and decide anew."),
    )


def _not_restorable(act: _Act) -> ActError:
    return ActError(
        _("'{act}' cannot be taken back: what other readers said before cannot be said in their place.").format(
            act=_text(act)
        ),
        _("Give the verdict that you mean, or reopen the case for all readers."),
    )
