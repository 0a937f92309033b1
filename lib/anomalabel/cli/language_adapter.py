"""`anomalabel train language-adapter`: fits a text tower to the language of reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn

from anomalabel.cli.terminal import Device, bar_of, say
from anomalabel.config import EMBEDDED

MANY_UNKNOWN = 0.5


def language_adapter(
    reports: Annotated[Path, typer.Option(help="CSV with a header, one report a row, UTF-8.", readable=False)],
    out: Annotated[Path, typer.Option(help="File for the adapter; one that is there is replaced.", readable=False)],
    column: Annotated[str | None, typer.Option(help="Column of the reports; without it `report` or `text`.")] = None,
    model: Annotated[str, typer.Option(help="embedded, biomedclip, a pulled name or a folder.")] = EMBEDDED,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the reports.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the reports held out, the draws and the start.")] = 0,
    device: Device = "auto",
) -> None:
    """Train a medical language adapter on the sentences of reports, for few_shot.language_adapter.path of a config.

    A tenth of the reports is held out to judge it on. Reports stay on this machine and are not in the file.
    """
    from anomalabel.backbones.loading import load_model
    from anomalabel.backbones.text_adapter import write_text_adapter
    from anomalabel.outputs import check_file, make_folder
    from anomalabel.training.language_adapter import LanguageAdapterTraining, train_language_adapter
    from anomalabel.training.report_sentences import read_reports

    check_file(out)
    settings = LanguageAdapterTraining(seed=seed, **({} if epochs is None else {"epochs": epochs}))
    texts = read_reports(reports, column)
    network = load_model(model, device)
    with _bar() as watch:
        trained = train_language_adapter(texts, network, settings, watch)
    make_folder(out.parent)
    write_text_adapter(trained.adapter, out, trained.as_json())
    facts = trained.facts
    left_out = f"{facts.too_long} too long, {facts.repeated} reports repeated, {facts.short} too short"
    say(f"{facts.reports} reports learned from, {facts.held_out} held out; {facts.sentences} sentences ({left_out})")
    say(
        f"held-out loss {facts.loss_before:.4f} before, {facts.loss_after:.4f} after, {facts.loss_of_chance:.4f} by "
        f"chance; cosine to the texts as they were {facts.closeness:.3f}"
    )
    if not facts.improved:
        say("Held-out reports are NOT told apart better with it: leave it out, or give more reports.", "yellow")
    if facts.unknown_words > MANY_UNKNOWN * facts.words:
        say(f"{facts.unknown_words} of {facts.words} different words are unknown to {network.identity.name}.", "yellow")
    say(f"written: {out}")


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    with bar_of("", MofNCompleteColumn()) as (bar, task):
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
