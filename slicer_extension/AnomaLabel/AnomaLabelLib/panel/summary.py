"""The sentences that tell a user what a server offers and what a result means."""

from __future__ import annotations

import math
from datetime import datetime

from .. import __version__
from ..review.matching import ShownFinding
from ..scene.heatmap import shown_threshold
from ..scene.runs import Run
from ..scene.unseen import unseen_fraction
from ..server.report import Report
from ..server.server_facts import ConfigFacts, ServerFacts
from ..server.versions import compare
from ..translation import _
from .panel_state import Notice, ShownRun

FEWEST_DECIMALS = 2
MOST_DECIMALS = 8
FEW_SHOT = "few_shot"
RECONSTRUCTION_METHOD = "reconstruction"


def server_notice(facts: ServerFacts, address: str, is_local: bool) -> Notice:
    """What the connection found: version, cases, who is logged in, and where images go."""
    if facts.waiting_for:
        return Notice(facts.waiting_for, _("Wait a moment and press Connect again."), is_error=True)
    where = _("images stay on this computer") if is_local else _("images you send leave this computer")
    if not is_local and address.startswith("http://"):
        where = _("images you send leave this computer, unencrypted")
    told = _("Connected: AnomaLabel {version}, {count} studies; {where}.").format(
        version=facts.version, count=len(facts.studies), where=where
    )
    if facts.reviewer:
        told += " " + _("You are logged in as {reader}.").format(reader=facts.reviewer)
    check = compare(__version__, facts)
    if check.cause:
        return Notice(f"{told} {check.cause}", check.remedy, is_error=not check.reviewing)
    return Notice(told)


def trained_text(facts: ServerFacts, task: str, config: ConfigFacts) -> str:
    """What a task's model for a config has learned from, or that none is trained yet."""
    models = facts.trained_for(task, config.name)
    if not models:
        return _("No model is trained for {config} yet. Ask who runs the server to train one.").format(
            config=config.title
        )
    model = models[0]
    if model.problem:
        return _("The model for {config} cannot be used: {problem}").format(config=config.title, problem=model.problem)
    return _("Learned from {shots} healthy images, {date}.").format(shots=model.shots, date=model.created[:10])


def run_notice(run: Run) -> Notice:
    """What a run has brought; no finding is not the same as healthy."""
    count = len(run.report.findings)
    if count == 0:
        return Notice(_("Nothing above the threshold. That is no proof of health."))
    if count == 1:
        return Notice(_("One finding."))
    return Notice(_("{count} findings.").format(count=count))


def hint_waits() -> Notice:
    """A result that is withheld: how much it found would be a hint too."""
    return Notice(_("The method has answered."), _("Its hint is shown once you have given your own verdict."))


def other_image_notice(run: Run, case: str) -> Notice:
    """A result of another image than that of the open case: what is decided on it would be kept under that case."""
    return Notice(
        _("'{run}' is in the scene; it is of another image than the open case {case}.").format(run=run.name, case=case),
        _("Close the case to look at it."),
    )


def verdict_text(verdict: str, by: str = "", utc: datetime | None = None) -> str:
    """A verdict for people, with who said it and when where that is known; "" for none."""
    texts = {"normal": _("normal"), "abnormal": _("abnormal")}
    if not verdict or not by:
        return texts.get(verdict, verdict)
    when = "" if utc is None else f"{utc.astimezone():%Y-%m-%d %H:%M}"
    return (
        _("Verdict: {verdict}, by {reader} {when}")
        .format(verdict=texts.get(verdict, verdict), reader=by, when=when)
        .strip()
    )


def finding_note(shown: ShownFinding) -> str:
    """What the table says of a finding besides its status."""
    notes = []
    if shown.user_made:
        notes.append(_("drawn by {reader}").format(reader=shown.reviewer))
    if shown.edited:
        notes.append(_("box edited"))
    if shown.as_before is not None:
        notes.append(_("as before"))
    if shown.reason:
        notes.append(shown.reason)
    return ", ".join(notes)


def shown_run(run: Run) -> ShownRun:
    """A result as the panel shows it."""
    report = run.report
    decimals = decimals_for(report.heatmap.maximum - report.heatmap.minimum)
    return ShownRun(
        id=run.id,
        name=run.name,
        findings=report.findings,
        minimum=report.heatmap.minimum,
        maximum=max(report.heatmap.maximum, report.threshold.value),
        threshold=shown_threshold(run.heatmap),
        decimals=decimals,
        warnings=_warnings(report),
        unseen=_unseen_text(unseen_fraction(run.unseen), report.nonfinite_voxels),
        model=_model_text(report),
        config=report.config,
        image_score=_image_score_text(report, decimals),
        threshold_rule=_("Threshold: {rule}").format(rule=_plain(report.threshold.rule)),
        maps=tuple(run.maps),
    )


def decimals_for(span: float) -> int:
    """Digits after the point that cut a range of values into at least a hundred steps; 2 to 8."""
    if span <= 0:
        return FEWEST_DECIMALS
    return min(max(FEWEST_DECIMALS, math.ceil(2 - math.log10(span))), MOST_DECIMALS)


def _model_text(report: Report) -> str:
    """Which model answered."""
    text = _("{method} by {model}, config {config}")
    if report.method == FEW_SHOT:
        text = _("Compared with healthy images by the trained model {model}, config {config}")
    if report.method == RECONSTRUCTION_METHOD:
        text = _("Compared with what the trained model {model} believes healthy, config {config}")
    told = text.format(method=report.method, model=report.model_name, config=report.config)
    if report.model_version:
        told += _(", version {version}").format(version=report.model_version)
    return told


def _image_score_text(report: Report, decimals: int) -> str:
    """How the whole image compares with healthy ones; "" where the method was not calibrated."""
    limit = report.image_threshold
    if limit is None:
        return ""
    text = _("This image scores {score}; healthy images here usually stay below {limit} ({rule}).").format(
        score=f"{report.image_score:.{decimals}f}", limit=f"{limit.value:.{decimals}f}", rule=_plain(limit.rule)
    )
    if report.image_score <= limit.value:
        text += " " + _("That is no proof of health.")
    return text


def _plain(rule: str) -> str:
    """A rule without the word that says what it is about, which the sentence around it says."""
    return rule.removeprefix("image: ").removeprefix("pixel: ")


def _warnings(report: Report) -> tuple[str, ...]:
    warnings = list(report.warnings)
    if not report.calibrated:
        warnings.append(_("Not calibrated: scores compare within this image only."))
    if not report.spacing_known and not any("spacing" in warning for warning in report.warnings):
        warnings.append(_("The image tells no spacing: volumes count 1 mm pixels."))
    return tuple(warnings)


def _unseen_text(fraction: float, nonfinite_voxels: int) -> str:
    if fraction == 0:
        return _("All of the image was looked at.")
    text = _("{percent:.0f} % of the image was not looked at (tinted blue): nothing is known there.").format(
        percent=max(1.0, 100 * fraction)
    )
    if nonfinite_voxels:
        text += " " + _("{count} voxels hold no number.").format(count=nonfinite_voxels)
    return text
