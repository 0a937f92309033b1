"""The models that this server trained: one folder per config, found by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalabel.config import load_config, shipped_config_names
from anomalabel.errors import ModelError
from anomalabel.model_folder import WEIGHTS_FILE, TrainedModel, read_description
from monailabel_app.safety.names import shortened


@dataclass(frozen=True)
class TrainedModels:
    """Models of one method.

    Args:
        folder: theirs alone; may not be there yet. A model's folder is called after the config it was trained for.
        train_task: what to name where a model is missing; the infer task that uses it has the same name.
    """

    folder: Path
    train_task: str

    @property
    def names(self) -> tuple[str, ...]:
        """Configs that have a model, sorted; anything else in the folder is passed over.

        One that cannot be used is among them: using it says why, where "not trained" would be wrong.
        """
        return tuple(name for name in shipped_config_names() if (self.place(name) / WEIGHTS_FILE).is_file())

    def place(self, config: str) -> Path:
        """Where the model of a shipped config lies or will lie."""
        return self.folder / config

    def require(self, name: str) -> Path:
        """The folder of a model.

        Raises:
            ModelError: no model of that name was trained.
        """
        there = self.names
        if name not in there:
            raise ModelError(
                f"No model is trained for '{shortened(name)}' yet (trained: {', '.join(there) or 'none'}).",
                f'Train it first: POST /train/{self.train_task} with {{"config": "{shortened(name)}"}}, '
                "once healthy studies are reviewed as normal.",
            )
        return self.place(name)

    def describe(self, name: str) -> TrainedModel:
        """What a model that is there says about itself.

        Raises:
            ModelError: it cannot be used; says why, without the folder.
        """
        folder = self.place(name)
        try:
            return read_description(folder)
        except ModelError as error:
            raise ModelError(error.cause.replace(str(folder), name), error.remedy.replace(str(folder), name)) from error

    def facts(self) -> list[dict[str, Any]]:
        """What people want to know of each model before they choose it; `problem` is why it cannot be used, or ""."""
        return [self._facts(name) for name in self.names]

    def _facts(self, name: str) -> dict[str, Any]:
        title = load_config(name).title
        facts: dict[str, Any] = {"task": self.train_task, "name": name, "config": name, "title": title}
        try:
            model = self.describe(name)
        except ModelError as error:
            return {**facts, "problem": str(error)}
        return facts | {
            "problem": "",
            "backbone": model.backbone.name,
            "shots": len(model.healthy),
            "created": model.created.isoformat(timespec="seconds"),
            "thresholds": {kind: threshold.rule for kind, threshold in model.thresholds.items()},
            "metrics": model.metrics,
            "warnings": list(model.warnings),
        }
