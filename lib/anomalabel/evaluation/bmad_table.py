"""Published numbers of CLAP's Table 2 beside measured ones, as text or as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from anomalabel.config import BIOMEDCLIP
from anomalabel.evaluation.bmad_results import Auroc, MeasuredSet
from anomalabel.evaluation.published import COLUMNS, EPOCHS, PUBLISHED, SAMPLES, SOURCE
from anomalabel.evaluation.saliencies import RECONSTRUCTION

NOTHING = "-"
AVERAGE = "Average"
TITLES: Mapping[str, str] = {**{row.method: row.title for row in PUBLISHED}, f"{RECONSTRUCTION}_none": "no mask"}


@dataclass(frozen=True)
class Comparison:
    """A table of texts and what must be known to read it.

    Args:
        head: of the columns.
        rows: as many texts each.
        notes: sentences.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def compare_with_published(measured: Mapping[str, MeasuredSet]) -> Comparison:
    """Published and measured rows, method by method; what was not measured is a dash, and so is its average.

    Args:
        measured: results by key of the set.
    """
    methods = dict.fromkeys(method for result in measured.values() for method in result.methods)
    published = {row.method: row for row in PUBLISHED}
    rows: list[tuple[str, ...]] = []
    for method in (*published, *(other for other in _ordered(methods) if other not in published)):
        title = TITLES.get(method, method)
        if method in published:
            row = published[method]
            numbers = (f"{row.auroc[key]:.2f}" for key in COLUMNS)
            rows.append((f"{title}, published", *numbers, f"{row.average:.2f}"))
        found = {
            key: result.methods[method].image_auroc for key, result in measured.items() if method in result.methods
        }
        if method in published or found:
            rows.append((f"{title}, measured", *(_cell(found.get(key)) for key in COLUMNS), _average(found)))
    return Comparison(("Method", *COLUMNS.values(), AVERAGE), tuple(rows), tuple(_notes(measured)))


def as_text(comparison: Comparison) -> str:
    """Aligned columns, then the notes."""
    table = [comparison.head, *comparison.rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(comparison.head))]
    lines = [
        "  ".join(text.ljust(width) if not place else text.rjust(width) for place, (text, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in table)
    ]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join([*lines, "", *comparison.notes])


def as_markdown(comparison: Comparison) -> str:
    """A table of GitHub's Markdown, then the notes as a list."""
    rule = [":--", *("--:" for _ in comparison.head[1:])]
    lines = [f"| {' | '.join(row)} |" for row in (comparison.head, rule, *comparison.rows)]
    return "\n".join([*lines, "", *(f"- {note}" for note in comparison.notes)])


def _ordered(methods: Iterable[str]) -> list[str]:
    """Those with a title of their own first."""
    return sorted(methods, key=lambda method: (method not in TITLES, method))


def _cell(auroc: Auroc | None) -> str:
    if auroc is None or auroc.mean is None:
        return NOTHING
    spread = "" if auroc.std is None else f" ± {100 * auroc.std:.2f}"
    return f"{100 * auroc.mean:.2f}{spread}"


def _average(found: Mapping[str, Auroc]) -> str:
    means = [auroc.mean for key in COLUMNS if (auroc := found.get(key)) is not None and auroc.mean is not None]
    return f"{100 * sum(means) / len(means):.2f}" if len(means) == len(COLUMNS) else NOTHING


def _notes(measured: Mapping[str, MeasuredSet]) -> Iterable[str]:
    yield f"Published: {SOURCE}. The printed average of EAR is 0.07 above the mean of its six numbers."
    if not measured:
        yield "Nothing was measured yet."
        return
    yield "Measured: image AUROC in percent, mean of the draws, with their standard deviation where there are several."
    yield from _about_networks(measured)
    yield from _about_settings(measured)
    for keys, count in _by_value({key: str(len(result.failed)) for key, result in measured.items()}):
        if count != "0":
            yield f"{count} images could not be evaluated ({keys})."


def _about_networks(measured: Mapping[str, MeasuredSet]) -> Iterable[str]:
    models = {key: result.protocol.model for key, result in measured.items() if _any_of(result, "plp", "clap")}
    for keys, model in _by_value(models):
        if model != BIOMEDCLIP:
            yield f"PLP and CLAP differ in the encoder: published with BiomedCLIP, measured with {model} ({keys})."
    ear = next(row for row in PUBLISHED if row.title == "EAR")
    told = {key: one.methods[ear.method].description for key, one in measured.items() if ear.method in one.methods}
    for keys, description in _by_value(told):
        # What follows in brackets may name the network that was not at hand.
        network = description.partition(" (")[0]
        if ear.network.lower() not in network.lower():
            instead = description.rstrip(".") or "a network that the results do not name"
            yield f"EAR differs in the encoder: published with {ear.network}; measured: {instead} ({keys})."


def _about_settings(measured: Mapping[str, MeasuredSet]) -> Iterable[str]:
    differences = {key: _differences(result) for key, result in measured.items()}
    for keys, difference in _by_value(differences):
        if difference:
            yield f"Measured otherwise than published: {difference} ({keys})."


def _differences(result: MeasuredSet) -> str:
    settings, found = result.protocol.config.reconstruction, []
    if (settings.training.epochs, settings.training.samples) != (EPOCHS, SAMPLES):
        trained = f"{settings.training.epochs} epochs of {settings.training.samples} samples"
        found.append(f"{trained}, not {EPOCHS} of {SAMPLES}")
    if settings.score != "max":
        found.append(f"the score is the mean of the top {settings.score_share:.0%} of the error map, not its maximum")
    if settings.errors.features > 0:
        found.append("the encoder's features are compared too")
    if settings.errors.cell > 1:
        found.append(f"errors are means over squares of {settings.errors.cell} pixels")
    if settings.healthy_level:
        found.append("errors are told in standard deviations of healthy ones")
    if not result.protocol.all_shots:
        found.append(f"{max(result.protocol.shots, default=0)} healthy images, not all of the training part")
    return "; ".join(found)


def _any_of(result: MeasuredSet, *saliencies: str) -> bool:
    return any(f"{RECONSTRUCTION}_{saliency}" in result.methods for saliency in saliencies)


def _by_value(values: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Each value once, with the sets that it holds for."""
    keys: dict[str, list[str]] = {}
    for key in COLUMNS:
        if key in values:
            keys.setdefault(values[key], []).append(key)
    return [(", ".join(names), value) for value, names in keys.items()]
