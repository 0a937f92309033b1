"""Score histograms of healthy and sick images, and metrics over the number of shots."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from anomalabel.errors import writable
from anomalabel.evaluation.report.content import MethodResult, ReportContent
from anomalabel.evaluation.report.drawing import HEALTHY_COLOUR, SICK_COLOUR, Picture, look_of, style, svg_uri
from anomalabel.evaluation.report.glossary import BY_KEY, HEADLINE_KEYS
from anomalabel.evaluation.report.tables import value_of
from anomalabel.evaluation.report.wording import called_abnormal, counted

HISTOGRAM_BINS = 30


def histogram_pictures(content: ReportContent) -> tuple[Picture, ...]:
    """Scores of the healthy and of the sick images in the first draw of each method's most shots."""
    return tuple(_histogram(method) for method in content.methods if method.shots[-1].draws[0].scores)


def shot_pictures(content: ReportContent) -> tuple[Picture, ...]:
    """Metrics over the number of shots; none where no method has two numbers of shots."""
    if all(len(method.shots) < 2 for method in content.methods):
        return ()
    return tuple(
        _over_shots(key, content.methods)
        for key in HEADLINE_KEYS
        if any(value_of(shot.estimates.get(key)) is not None for method in content.methods for shot in method.shots)
    )


def _histogram(method: MethodResult) -> Picture:
    shot = method.shots[-1]
    draw = shot.draws[0]
    threshold = draw.thresholds.image
    cut = [threshold] if math.isfinite(threshold) else []
    healthy = [score.score for score in draw.scores if not score.abnormal]
    sick = [score.score for score in draw.scores if score.abnormal]
    edges = list(np.histogram_bin_edges([*healthy, *sick, *cut], bins=HISTOGRAM_BINS))
    with style():
        figure = Figure(figsize=(5.2, 3.8), layout="constrained")
        axes = figure.subplots()
        _draw_scores(axes, healthy, edges, "healthy", HEALTHY_COLOUR, None)
        _draw_scores(axes, sick, edges, "sick", SICK_COLOUR, "////")
        for value in cut:
            axes.axvline(value, color="black", linewidth=1.8, linestyle="--", label="threshold")
        axes.set(xlabel="Image score", ylabel="Images", title=writable(f"{method.name}, {draw.name}"))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="best")
        source = svg_uri(figure)
    caption = f"Image scores of {method.name}, {draw.name}. "
    called = [
        f"{called_abnormal(draw, abnormal)} of {counted(len(scores), word)}"
        for abnormal, scores, word in ((True, sick, "sick image"), (False, healthy, "healthy image"))
        if scores
    ]
    caption += (
        f"From the line on an image is called abnormal: {', '.join(called)}." if cut else "There is no threshold."
    )
    return Picture(source, f"Histogram. {caption}", caption)


def _draw_scores(
    axes: Axes, scores: Sequence[float], edges: Sequence[float], word: str, colour: str, hatch: str | None
) -> None:
    if scores:
        label = f"{word} ({len(scores)})"
        axes.hist(
            scores,
            bins=edges,
            histtype="stepfilled",
            facecolor="none" if hatch else (colour, 0.4),
            edgecolor=colour,
            hatch=hatch,
            linewidth=1.5,
            label=label,
        )


def _over_shots(key: str, methods: Sequence[MethodResult]) -> Picture:
    label = BY_KEY[key].label + (f", {BY_KEY[key].level}s" if BY_KEY[key].level != "finding" else "")
    counts = sorted({shot.shots for method in methods for shot in method.shots if shot.shots})
    told = []
    with style():
        figure = Figure(figsize=(5.2, 4.0), layout="constrained")
        axes = figure.subplots()
        for position, method in enumerate(methods):
            look = look_of(position)
            points = [
                (shot.shots, mean, shot.estimates[key].std)
                for shot in method.shots
                if (mean := value_of(shot.estimates.get(key))) is not None
            ]
            told += [f"{method.name} {shots} shots {mean:.3f}" for shots, mean, _ in points]
            for _, mean, _ in (point for point in points if point[0] == 0):
                axes.axhline(
                    mean, color=look.colour, linestyle=":", linewidth=2, label=writable(f"{method.name}, no shots")
                )
            learnt = [point for point in points if point[0]]
            if learnt:
                axes.errorbar(
                    [counts.index(shots) for shots, _, _ in learnt],
                    [mean for _, mean, _ in learnt],
                    yerr=[std or 0.0 for _, _, std in learnt],
                    color=look.colour,
                    marker=look.marker,
                    linestyle=look.style,
                    linewidth=2,
                    capsize=4,
                    label=writable(method.name),
                )
        axes.set_xticks(range(len(counts)), [str(count) for count in counts])
        axes.set(xlabel="Healthy images learnt from (K)", ylabel=label)
        axes.margins(x=0.08, y=0.12)
        axes.legend(loc="best")
        source = svg_uri(figure)
    return Picture(
        source, f"{label} over K: {'; '.join(told)}.", f"{label} over K. Bars: one SD over draws either way."
    )
