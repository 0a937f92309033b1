"""The sentences and table cells that tell a reader how case, worklist, training and connection stand."""

from __future__ import annotations

from datetime import datetime

from .. import __version__
from ..server.server_facts import ServerFacts
from ..server.training import DONE, ERROR, TrainingFacts
from ..server.worklist import WorklistCase
from ..translation import _
from .keys import key_of
from .panel_state import CaseState, FindingRow, FindingsState, PanelState
from .summary import verdict_text
from .worklist import ALL, NOT_REVIEWED

SIZES = (_("Full: exact values"), _("Compact: a quarter of the bytes"))


def filter_text(name: str) -> str:
    """A filter of the worklist, for people."""
    texts = {ALL: _("All cases"), NOT_REVIEWED: _("Not reviewed yet")}
    return texts.get(name) or state_text(name)


def state_text(state: str) -> str:
    """How far a case is, for people."""
    texts = {
        "new": _("New"),
        "in_review": _("In review"),
        "second_reader": _("Needs second reader"),
        "reviewed": _("Reviewed"),
    }
    return texts.get(state, state)


def order_text(order: str) -> str:
    """An order of the worklist, for people; one that a newer server knows keeps its name."""
    texts = {
        "first": _("By name"),
        "random": _("Random"),
        "most_anomalous": _("Most anomalous first"),
        "most_uncertain": _("Most uncertain first"),
        "most_disagreement": _("Methods disagree most first"),
    }
    return texts.get(order, order)


def status_text(row: FindingRow) -> str:
    """How a finding stands, for the table."""
    texts = {"open": _("open"), "accepted": _("accepted"), "rejected": _("rejected")}
    text = texts.get(row.status, row.status)
    return f"{text}: {row.note}" if row.note else text


def counts_text(case: CaseState, findings: FindingsState) -> str:
    """How many findings are in which state; "" while no case is open."""
    if not case.image or case.hidden:
        return ""
    still_open, accepted, rejected = findings.counts
    text = _("{open} open, {accepted} accepted, {rejected} rejected.").format(
        open=still_open, accepted=accepted, rejected=rejected
    )
    if findings.left_out:
        text += " " + _("{count} further regions above the threshold are not listed; raise it.").format(
            count=findings.left_out
        )
    return text


def hidden_text(case: CaseState) -> str:
    """What reading first asks of the reader; "" once the verdict is given."""
    if not case.hidden:
        return ""
    return _(
        "Reading first: heatmap, boxes and scores are hidden. Look at the case and press Case normal ({normal}) or "
        "Case abnormal ({abnormal}); your own verdict is kept, then the hint is shown."
    ).format(normal=key_of("review.case_normal"), abnormal=key_of("review.case_abnormal"))


def segments_text(case: CaseState) -> str:
    """How many segments the case has, and whether they were sent."""
    if not case.segments or case.hidden:
        return ""
    if case.segments_sent:
        return _("Segments: {count}, kept as the label of this case.").format(count=case.segments)
    return _("Segments: {count}, not sent as label yet.").format(count=case.segments)


def case_text(state: PanelState) -> str:
    """The line above the tabs: which case is open and how it stands."""
    case = state.case
    if not case.image:
        return _("No case is open")
    listed = state.worklist.worklist.cases if state.worklist.worklist else ()
    place = next((place for place, each in enumerate(listed, start=1) if each.image == case.image), 0)
    where = _("{place} of {count}").format(place=place, count=len(listed)) if place else ""
    verdict = verdict_text(case.verdict) if case.verdict else _("no verdict yet")
    anatomy = "" if state.run is None or case.hidden else _("seen as {anatomy}").format(anatomy=anatomy_of(state))
    return "  \u00b7  ".join(part for part in (case.image, where, anatomy, verdict) if part)


def anatomy_of(state: PanelState) -> str:
    """Which anatomy the shown result took the image for; a wrong one makes it worthless."""
    config = state.server.config(state.run.config) if state.server is not None else None
    return state.run.config if config is None else config.title


def no_case_text() -> str:
    """What stands in place of the open case's name."""
    return _("none; open one under Cases")


def case_texts(case: WorklistCase, state: PanelState) -> tuple[str, str, str, str]:
    """A line of the worklist: case, state, who, score."""
    how = state_text(case.state)
    who = case.reviewer
    if case.problem:
        how = _("Damaged record")
    elif case.state == "reviewed" and case.verdict:
        how = verdict_text(case.verdict)
    if case.lease is not None and not case.lease.mine:
        how, who = _("Open elsewhere"), case.lease.reviewer
    elif case.utc is not None and case.reviewer:
        who = f"{case.reviewer}, {local_time(case.utc)}"
    return case.image, how, who, "" if withheld(case, state) else score_text(case)


def withheld(case: WorklistCase, state: PanelState) -> bool:
    """Whether a case's score would be a hint that the reader asked not to see first."""
    return state.reading_first and case.state != "reviewed"


def score_text(case: WorklistCase) -> str:
    """The scores of all methods; by their threshold where they are calibrated, which makes them comparable."""
    parts = []
    for score in case.scores:
        if score.relative is not None:
            parts.append(_("{score} x threshold").format(score=f"{score.relative:.2f}"))
        elif score.image_score is not None:
            parts.append(f"{score.image_score:.2f}")
    return ", ".join(parts)


def score_hint(state: PanelState) -> str:
    """What an order by score gives away."""
    if state.reading_first and state.worklist.order not in {"first", "random"}:
        return _("This order is a hint by itself: choose By name or Random to read without one.")
    return _("Which cases come first.")


def progress_text(facts: TrainingFacts) -> str:
    """How far a training or scoring is, or how it ended."""
    if facts.running:
        text = _("{task} for {config}: {stage}, {percent} %").format(
            task=facts.task, config=facts.config, stage=facts.stage, percent=facts.percent
        )
        if facts.seconds_left is not None:
            text += ", " + _("about {time} left in this step").format(time=duration_text(facts.seconds_left))
        return text
    if facts.status == ERROR:
        return _("{task} for {config} failed: {why}").format(task=facts.task, config=facts.config, why=facts.error)
    last = facts.details[-1] if facts.details else facts.status
    lines = [_("{task} for {config}: {outcome}").format(task=facts.task, config=facts.config, outcome=last)]
    if facts.status == DONE and facts.outcome is not None:
        if facts.outcome.shots:
            lines.append(_("Learned from {count} healthy images.").format(count=facts.outcome.shots))
        if facts.outcome.left_out:
            lines.append(_("Left out {count} images.").format(count=len(facts.outcome.left_out)))
        lines.extend(f"\u26a0 {warning}" for warning in facts.outcome.warnings)
    return "\n".join(lines)


def models_text(server: ServerFacts) -> str:
    """The models that the server has trained."""
    if not server.trained:
        return _("The server has trained no model yet.")
    lines = [_("Trained models:")]
    for model in server.trained:
        said = model.problem or _("{shots} healthy images, {date}").format(shots=model.shots, date=model.created[:16])
        lines.append(f"{model.task} / {model.config}: {said}")
    return "\n".join(lines)


def refused_text(reasons: tuple[str, ...]) -> str:
    """The acts that the server would not take; "" where it took all."""
    if not reasons:
        return ""
    return "\n".join((_("Refused by the server, kept on this computer:"), *reasons[-5:]))


def version_text(server: ServerFacts | None) -> str:
    """The versions on both sides."""
    if server is None:
        return _("Extension {ours}").format(ours=__version__)
    return _("Extension {ours}, server {theirs}").format(ours=__version__, theirs=server.version)


def duration_text(seconds: float) -> str:
    """A span of time in the largest unit that fits."""
    if seconds < 90:
        return _("{count} s").format(count=round(seconds))
    if seconds < 5400:
        return _("{count} min").format(count=round(seconds / 60))
    return _("{count} h").format(count=round(seconds / 3600, 1))


def local_time(moment: datetime) -> str:
    """A moment in this computer's time zone, to the minute."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def compare_texts(state: PanelState) -> tuple[str, ...]:
    """The ways to look at several results of one image."""
    return _("One result"), _("Side by side"), _("Blended")
