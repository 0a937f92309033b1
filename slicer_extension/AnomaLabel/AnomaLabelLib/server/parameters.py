"""What one run asks of the server."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from ..errors import RequestRefusedError
from ..translation import _

NOT_SENT = frozenset({"task", "maps"})
"""The task stands in the address, and each map is a key of its own."""


@dataclass(frozen=True)
class RunParameters:
    """Settings of one run; None leaves the choice to the server's config.

    Args:
        backbone: image-text model, for tasks that read words.
        trained: model that the server trained, for tasks that learn from healthy images.
        compact: ask for a heatmap of one byte a voxel in place of four.
        maps: kinds of maps to ask for beside the heatmap; a task that has none does not know the question.
    """

    task: str
    config: str
    backbone: str | None = None
    positive: tuple[str, ...] | None = None
    negative: tuple[str, ...] | None = None
    compact: bool = False
    trained: str | None = None
    maps: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The form field `params` of the request; keys that are None are left out."""
        fields = {key: value for key, value in asdict(self).items() if value is not None and key not in NOT_SENT}
        return json.dumps({**fields, **dict.fromkeys(self.maps, True)}, allow_nan=False)

    def to_text(self) -> str:
        """Everything, as `from_text` reads it."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def from_text(cls, text: str) -> RunParameters | None:
        """What `to_text` wrote, None where it is no such text."""
        try:
            values = json.loads(text)
            lists = {key: tuple(values[key]) for key in ("positive", "negative", "maps") if values[key] is not None}
            return cls(**{**values, **lists})
        except (ValueError, TypeError, KeyError):
            return None

    def scoring_params(self) -> dict[str, object]:
        """The body of a request that has all studies scored this way; heatmaps are of no use there."""
        fields = json.loads(replace(self, compact=False, maps=()).to_json())
        del fields["compact"]
        return fields


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
