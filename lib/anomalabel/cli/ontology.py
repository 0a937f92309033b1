"""`anomalabel ontology`: what the words of a config are called in SNOMED CT, RadLex and UMLS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import DownloadColumn
from rich.table import Table
from rich.text import Text

from anomalabel.cli.terminal import INTERRUPTED, bar_of, say, terminal

if TYPE_CHECKING:
    from anomalabel.prompts.ontology import Concept

UNKNOWN = "not known"

ontology = typer.Typer(no_args_is_help=True, help="Codes of terms: SNOMED CT, RadLex, UMLS.")


@ontology.command("import")
def import_release(
    release: Annotated[Path, typer.Argument(help="MRCONSO.RRF of a UMLS release that you have a licence for.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; default $ANOMALABEL_ONTOLOGY or the user's data folder.")
    ] = None,
    language: Annotated[str, typer.Option(help="Language of the names: ENG, GER, SPA, ...")] = "ENG",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Load the hospital's own UMLS release; it is found from then on and asked before the table that ships."""
    from anomalabel.prompts.ontology import import_mrconso, ontology_path

    target = out or ontology_path()
    try:
        with bar_of("reading", DownloadColumn()) as (bar, task):
            written = import_mrconso(
                release, target, lambda done, total: bar.update(task, completed=done, total=total), language, force
            )
    except KeyboardInterrupt:
        say(f"Stopped; {target} is as it was.", "yellow")
        raise typer.Exit(INTERRUPTED) from None
    say(f"written: {written.path}, {written.concepts} concepts with {written.names} names")
    if target != ontology_path():
        say(f"To use it, set ANOMALABEL_ONTOLOGY={target}")


@ontology.command("lookup")
def lookup_term(term: Annotated[str, typer.Argument(help="A term, or several words in quotes.")]) -> None:
    """Show what a term means: its names and codes."""
    from anomalabel.prompts.ontology import Ontology, OntologyError, lookup

    installed = Ontology.installed()
    concept = lookup(term, installed)
    if concept is None:
        raise OntologyError(
            f"'{term}' is not known to {' or '.join(installed.names)}, or names several things there.",
            "Check the spelling, or load your own UMLS release with: anomalabel ontology import MRCONSO.RRF",
        )
    table = Table("fact", "value")
    table.add_row("preferred", Text(concept.preferred))
    table.add_row("synonyms", Text(", ".join(concept.synonyms), overflow="fold"))
    for name, code in zip(("SNOMED CT", "RadLex", "UMLS"), _codes(concept), strict=True):
        table.add_row(name, code)
    terminal.print(table)


@ontology.command("check")
def check_config(
    config: Annotated[str, typer.Option(help="Name of a shipped config, or a YAML file.")],
) -> None:
    """Show the codes of a config's terms, and which of them are not known."""
    from anomalabel.config import load_config
    from anomalabel.prompts.ontology import Ontology, config_terms, unknown_terms

    loaded, installed = load_config(config), Ontology.installed()
    table = Table("role", "term", "preferred", "SNOMED CT", "RadLex", "UMLS")
    for named in config_terms(loaded, installed):
        preferred = named.concept.preferred if named.concept else UNKNOWN
        table.add_row(named.role, Text(named.term), Text(preferred), *_codes(named.concept))
    terminal.print(table)
    say(f"Asked: {', then '.join(installed.names)}.")
    unknown = unknown_terms(loaded, installed)
    if unknown:
        say(f"Not known: {', '.join(unknown)}. They are used as they are written, without codes or synonyms.", "yellow")


def _codes(concept: Concept | None) -> tuple[str, str, str]:
    if concept is None:
        return ("", "", "")
    return (concept.snomed_ct or UNKNOWN, concept.radlex or UNKNOWN, concept.umls_cui or UNKNOWN)
