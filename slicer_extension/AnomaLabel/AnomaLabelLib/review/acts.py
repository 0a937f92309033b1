"""Each act of a reader as the event that says it; an act that makes no sense as the case stands is refused."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from ..errors import ActError
from ..translation import _
from .event import MAXIMUM_REASON, ReviewEvent
from .matching import ShownFinding
from .reviewed import ACCEPTED, NORMAL, OPEN, REJECTED, CaseReview
from .row import Row, finding_of, finding_row, method_of

SHA256 = re.compile("[0-9a-f]{64}")


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True)
class ActContext:
    """What every event of a case tells besides the act.

    Args:
        image: id of the study.
        reviewer: who acts.
        client: program and version.
        findings_sha256, model, prompts: of the report that is reviewed, None where none is shown.
        clock: gives the time, with its zone.
        new_id: gives a UUID.
    """

    image: str
    reviewer: str
    client: str = ""
    findings_sha256: str | None = None
    model: dict[str, object] | None = None
    prompts: dict[str, object] | None = None
    clock: Callable[[], datetime] = field(default=_now, compare=False)
    new_id: Callable[[], str] = field(default=_new_id, compare=False)

    def event(self, action: str, **values: object) -> ReviewEvent:
        """An event of this moment.

        Args:
            values: further fields of the event.

        Raises:
            ActError: there is no reviewer's name.
        """
        reviewer = self.reviewer.strip()
        if not reviewer:
            raise ActError(_("Nobody has said who reviews."), _("Type your name under Reviewer."))
        return ReviewEvent(
            event_id=self.new_id(),
            image=self.image,
            reviewer=reviewer,
            action=action,
            acted_utc=self.clock(),
            findings_sha256=self.findings_sha256,
            model=self.model,
            prompts=self.prompts,
            client=self.client,
            **values,
        )


def accept(case: CaseReview, shown: ShownFinding, context: ActContext) -> ReviewEvent:
    """The finding is one.

    Raises:
        ActError: this reader has accepted it already, or the case is called normal.
    """
    known = case.find(shown.finding.id)
    if known is not None and known.status == ACCEPTED and known.reviewer == context.reviewer.strip():
        raise ActError(_("You have accepted this finding already."), _("Go on to the next one."))
    _not_in_a_normal_case(case)
    return context.event("accepted", finding_id=shown.finding.id, before=row_of(shown))


def reject(case: CaseReview, shown: ShownFinding, reason: str | None, context: ActContext) -> ReviewEvent:
    """The finding is none.

    Args:
        reason: at most 200 characters; None or "" where the reader gives none.

    Raises:
        ActError: this reader has rejected it for the same reason already, or the reason is too long.
    """
    reason = (reason or "").strip() or None
    if reason is not None and len(reason) > MAXIMUM_REASON:
        raise ActError(
            _("The reason is {count} characters long.").format(count=len(reason)),
            _("Write at most {limit}.").format(limit=MAXIMUM_REASON),
        )
    known = case.find(shown.finding.id)
    said = (REJECTED, reason, context.reviewer.strip())
    if known is not None and (known.status, known.reason, known.reviewer) == said:
        raise ActError(_("You have rejected this finding already."), _("Go on to the next one."))
    return context.event("rejected", finding_id=shown.finding.id, before=row_of(shown), reason=reason)


def edit(case: CaseReview, shown: ShownFinding, row: Row, context: ActContext) -> ReviewEvent:
    """The finding is one, with another box.

    Args:
        row: the finding as it is now.

    Raises:
        ActError: the box is the same, the row is another finding's, the finding is rejected, or the case is normal.
        ReplyError: the row is no finding.
    """
    changed = finding_of(row)
    if changed.id != shown.finding.id:
        raise ActError(_("The edited box is another finding's."), _("Select the finding again and edit its box."))
    if shown.status == REJECTED:
        raise ActError(_("This finding is rejected."), _("Accept it first, then edit its box."))
    before = shown.finding
    if (changed.index_min, changed.index_max) == (before.index_min, before.index_max):
        raise ActError(_("The box covers the same voxels as before."), _("Drag one of its handles, or leave it."))
    _not_in_a_normal_case(case)
    after = row if method_of(row) or not shown.method else {**row, "method": shown.method}
    return context.event("edited", finding_id=changed.id, before=row_of(shown), after=after)


def add(case: CaseReview, row: Row, context: ActContext) -> ReviewEvent:
    """A finding that nobody had marked.

    Args:
        row: of the finding, with `origin` "box" or "segment".

    Raises:
        ActError: there is a finding of this id, or the case is called normal.
        ReplyError: the row is no finding.
    """
    finding = finding_of(row)
    if case.find(finding.id) is not None:
        raise ActError(_("This finding is in the list already."), _("Edit it there."))
    _not_in_a_normal_case(case)
    return context.event("added", finding_id=finding.id, after=row)


def withdraw(case: CaseReview, shown: ShownFinding, context: ActContext) -> ReviewEvent:
    """Take away a finding that a reader had drawn.

    Raises:
        ActError: a model found it.
    """
    known = case.find(shown.finding.id)
    if known is None or not known.user_made:
        raise ActError(_("This finding was not drawn by a reader."), _("Reject it instead; it stays on record."))
    return context.event("withdrawn", finding_id=known.id, before=row_of(shown))


def reopen(case: CaseReview, shown: ShownFinding, context: ActContext) -> ReviewEvent:
    """Nothing is decided on the finding any more; its box stays as it is.

    Raises:
        ActError: nothing was decided.
    """
    known = case.find(shown.finding.id)
    if known is None or known.status == OPEN:
        raise ActError(_("Nothing is decided on this finding yet."), _("Accept or reject it."))
    return context.event("reopened", finding_id=known.id, before=row_of(shown))


def case_normal(case: CaseReview, context: ActContext) -> ReviewEvent:
    """The case shows nothing abnormal.

    Raises:
        ActError: a finding is accepted, or this reader has said so already.
    """
    accepted = sum(each.status == ACCEPTED for each in case.findings)
    if accepted:
        raise ActError(
            _("{count} findings of this case are accepted, so it is not normal.").format(count=accepted),
            _("Reject or reopen them first, or call the case abnormal."),
        )
    return _verdict(case, "case_normal", NORMAL, context)


def case_abnormal(case: CaseReview, context: ActContext) -> ReviewEvent:
    """The case is abnormal, whether or not its findings say where.

    Raises:
        ActError: this reader has said so already.
    """
    return _verdict(case, "case_abnormal", "abnormal", context)


def case_reopen(case: CaseReview, context: ActContext) -> ReviewEvent:
    """No verdict on the case stands any more, whoever gave it.

    Raises:
        ActError: none stands.
    """
    if not case.standing:
        raise ActError(_("No verdict on this case stands."), _("Call it normal or abnormal."))
    return context.event("case_reopened")


def second_reader(case: CaseReview, context: ActContext) -> ReviewEvent:
    """Ask for a second reader, or withdraw that where it is asked for and nobody has answered."""
    return context.event("second_reader_withdrawn" if case.second_reader else "second_reader")


def read_first(case: CaseReview, verdict: str, context: ActContext) -> ReviewEvent:
    """What the reader thinks before the hint is shown; it stands and is never taken back.

    Args:
        verdict: "normal" or "abnormal".

    Raises:
        ActError: this reader has said so already.
    """
    if case.own_verdict_of(context.reviewer.strip()) is not None:
        raise ActError(
            _("Your own verdict on this case is on record already, and stays."), _("Give the verdict on the case.")
        )
    return context.event("read_normal" if verdict == NORMAL else "read_abnormal")


def segmented(
    case: CaseReview, mask_sha256: str, finding_ids: tuple[str, ...], segments: tuple[str, ...], context: ActContext
) -> ReviewEvent:
    """A corrected mask is the label of the case.

    Args:
        mask_sha256: of the mask's file, 64 hexadecimal digits.
        finding_ids: the findings that it marks.
        segments: names, in the order of the mask's values from 1 on.

    Raises:
        ActError: there is no segment, or the same mask is on record already.
    """
    if not SHA256.fullmatch(mask_sha256):
        raise ValueError(f"not a SHA-256: {mask_sha256[:80]}")
    if not segments:
        raise ActError(_("There is no segment to send."), _("Turn a finding into a segment, or draw one."))
    last = case.segmentation
    said = (mask_sha256, tuple(finding_ids), tuple(segments))
    if last is not None and (last.mask_sha256, last.finding_ids, last.segments) == said:
        raise ActError(_("This very mask was sent already."), _("Correct a segment, then send it."))
    after = {"mask_sha256": mask_sha256, "finding_ids": list(finding_ids), "segments": list(segments)}
    return context.event("segmented", after=after)


def row_of(shown: ShownFinding) -> Row:
    """A shown finding as the row that events hold."""
    return finding_row(shown.finding, shown.method, shown.origin)


def again(event: ReviewEvent, undoes: str, context: ActContext) -> ReviewEvent:
    """The same act once more, under an id of its own."""
    return replace(event, event_id=context.new_id(), acted_utc=context.clock(), undoes=undoes, utc=None)


def _verdict(case: CaseReview, action: str, verdict: str, context: ActContext) -> ReviewEvent:
    if case.verdict_of(context.reviewer.strip()) == verdict:
        raise ActError(_("You have said that of this case already."), _("Go on to the next case."))
    return context.event(action)


def _not_in_a_normal_case(case: CaseReview) -> None:
    if case.verdict == NORMAL:
        raise ActError(
            _("The case is called normal by {reviewer}; a finding would contradict that.").format(
                reviewer=case.verdict_by
            ),
            _("Call the case abnormal or reopen it, then mark the finding."),
        )
