"""Writes the report: content in, one HTML file out."""

from __future__ import annotations

import math
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from anomalabel.errors import writable
from anomalabel.evaluation.report.content import DrawResult, ReportContent
from anomalabel.evaluation.report.curve_plots import curve_pictures
from anomalabel.evaluation.report.example_pictures import (
    FOUND_COLOUR,
    TRUE_COLOUR,
    UNSEEN_COLOUR,
    example_rows,
    scale_picture,
)
from anomalabel.evaluation.report.examples import EXAMPLE_RULE
from anomalabel.evaluation.report.glossary import METRICS, TERMS, Metric, metric_named
from anomalabel.evaluation.report.methods import METHODS
from anomalabel.evaluation.report.score_plots import histogram_pictures, shot_pictures
from anomalabel.evaluation.report.tables import NO_VALUE, head, metric_tables, overview, p_value
from anomalabel.evaluation.report.wording import called_abnormal, main_result, summary_sentence, tested, warnings
from anomalabel.explain.overlay import SHOWN_BOXES
from anomalabel.io.write import write_text

TEMPLATE = "report.html.jinja"
NEVER_FROM_TEST_IMAGES = (
    "No threshold, epoch, fusion weight or scale of scores or maps was chosen on the test images.",
    "No sick image was used to set a threshold: each was set on healthy images that the method did not learn from, or "
    "fixed without any image; the rules below say which.",
)


def write_report(content: ReportContent, path: Path) -> None:
    """Write the report as one HTML file that loads nothing from anywhere.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(path, render_report(content))


def render_report(content: ReportContent) -> str:
    """The report as HTML text; its own policy forbids it to load anything."""
    environment = Environment(
        loader=PackageLoader("anomalabel.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    method, shot = main_result(content)
    html = environment.get_template(TEMPLATE).render(
        content=content,
        method=method,
        shot=shot,
        summary=summary_sentence(content),
        warnings=warnings(content),
        rules=NEVER_FROM_TEST_IMAGES,
        overview=overview(content, content.methods),
        headline=overview(content, content.methods[:1]),
        tables=[(entry, metric_tables(content, entry)) for entry in content.methods],
        curves=curve_pictures(content),
        histograms=histogram_pictures(content),
        over_shots=shot_pictures(content),
        examples=example_rows(content.examples),
        scale=scale_picture(content.examples) if content.examples else None,
        example_rule=EXAMPLE_RULE,
        shown_boxes=SHOWN_BOXES,
        colours={"true": TRUE_COLOUR, "found": FOUND_COLOUR, "unseen": UNSEEN_COLOUR},
        glossary=_glossary(content),
        terms=TERMS,
        method_words={method.name: METHODS[method.name] for method in content.methods if method.name in METHODS},
        explain=_explanation,
        level=_level,
        head=head,
        p_value=p_value,
        threshold=_threshold,
        threshold_rules=_threshold_rules(content),
        called=_called,
    )
    return writable(html)


def _threshold(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "none"


def _threshold_rules(content: ReportContent) -> list[str]:
    """Each rule once, in the order of the draws."""
    draws = (draw for method in content.methods for shot in method.shots for draw in shot.draws)
    return list(dict.fromkeys(draw.thresholds.rule for draw in draws))


def _called(draw: DrawResult, abnormal: bool) -> str:
    called = called_abnormal(draw, abnormal)
    return NO_VALUE if called is None else f"{called} of {tested(draw, abnormal)}"


def _explanation(key: str) -> str:
    metric = metric_named(key)
    return "" if metric is None else metric.explanation


def _level(key: str) -> str:
    """What stands after a label that two levels share, such as "images" after AUROC."""
    metric = metric_named(key)
    return "" if metric is None or metric.level == "finding" else f"{metric.level}s"


def _glossary(content: ReportContent) -> list[tuple[str, list[Metric]]]:
    """The metrics that the tables name, by level."""
    present = {key for method in content.methods for shot in method.shots for key in shot.estimates}
    named = {metric.key for key in present if (metric := metric_named(key))}
    levels = dict.fromkeys(metric.level for metric in METRICS)
    chosen = [
        (level, [metric for metric in METRICS if metric.level == level and metric.key in named]) for level in levels
    ]
    return [(level, metrics) for level, metrics in chosen if metrics]
