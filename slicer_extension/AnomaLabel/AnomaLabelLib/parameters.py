"""What one run asks of the server."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from .errors import RequestRefusedError
from .translation import _


@dataclass(frozen=True)
class RunParameters:
    """Settings of one run; None leaves the choice to the server's config.

    Args:
        backbone: image-text model, for tasks that read words.
        trained: model that the server trained, for tasks that learn from healthy images.
        compact: ask for a heatmap of one byte a voxel in place of four.
        uncertainty: ask for the map of the method's uncertainty; older servers do not know the question.
    """

    task: str
    config: str
    backbone: str | None = None
    positive: tuple[str, ...] | None = None
    negative: tuple[str, ...] | None = None
    compact: bool = False
    trained: str | None = None
    uncertainty: bool | None = None

    def to_json(self) -> str:
        """The form field `params` of the request; keys that are None are left out."""
        fields = {key: value for key, value in asdict(self).items() if value is not None and key != "task"}
        return json.dumps(fields, allow_nan=False)


def prompts_from_text(text: str) -> tuple[str, ...]:
    """One prompt per line; blank lines are dropped.

    Raises:
        RequestRefusedError: no line holds any text.
    """
    prompts = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not prompts:
        raise RequestRefusedError(
            _("A prompt field is empty."), _("Write at least one line into both prompt fields, or pick a config again.")
        )
    return prompts
