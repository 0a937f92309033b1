"""What all commands show themselves with: lines, progress bars, the option that names a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from anomalabel.errors import writable

terminal = Console()

INTERRUPTED = 130
"""Exit code after Ctrl+C, as shells have it."""

SPEED_SECONDS = 3600.0
"""Past over which a bar estimates its speed: a training's step may take minutes."""

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]


def say(text: str, style: str = "") -> None:
    """One line, whatever brackets and bytes a file name has."""
    terminal.print(Text(writable(text), style), soft_wrap=True)


@contextmanager
def bar_of(title: str, *columns: Any, **fields: Any) -> Iterator[tuple[Progress, Any]]:
    parts = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *parts,
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
        speed_estimate_period=SPEED_SECONDS,
    ) as bar:
        yield bar, bar.add_task(title, total=None, **fields)
