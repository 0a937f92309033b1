"""The file that episodic learning leaves: a start for one head on one encoder (section 4.6.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from anomalabel.config import Settings
from anomalabel.errors import ModelError
from anomalabel.io.write import replacing
from anomalabel.model_folder import HealthyImage
from anomalabel.training.episodes import EpisodicTraining, Parameters

SCHEMA = "anomalabel.episodes/1"


class StartOrigin(Settings):
    """Where a start comes from, and what it is worth."""

    encoder: str = Field(default="", description="name of the encoder")
    sets: dict[str, tuple[HealthyImage, ...]] = Field(
        default_factory=dict, description="by config, the healthy images that tasks were made of"
    )
    seed: int = 0
    metrics: dict[str, float] = Field(default_factory=dict, description="on tasks of images that it did not learn from")


@dataclass(frozen=True)
class LearnedStart:
    """Parameters from which a head adapts to a new anatomy, and what they fit.

    Args:
        parameters: by their names in the head.
        encoder_sha256: of the weights whose features the head reads.
        head: one line that tells heads of equal shapes apart: levels, text, refinement.
        training: how it was learned; adapting takes its `inner_rate`.
        origin: where it comes from; adapting doesn't need it.
    """

    parameters: Parameters
    encoder_sha256: str
    head: str
    training: EpisodicTraining
    origin: StartOrigin = field(default_factory=StartOrigin)


def save_start(path: Path, start: LearnedStart) -> None:
    """Write one safetensors file, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    metadata = {
        "schema": SCHEMA,
        "encoder_sha256": start.encoder_sha256,
        "head": start.head,
        "training": start.training.model_dump_json(),
        "origin": start.origin.model_dump_json(),
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in start.parameters.items()}
    content = save(tensors, metadata)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def load_start(path: Path, encoder_sha256: str, head: str, module: nn.Module) -> LearnedStart:
    """Read a start that fits an encoder and a head.

    Args:
        encoder_sha256: of the encoder that will be used.
        head: its line, as it was saved.
        module: whose learning parameters the start's must match in name and shape; left as it is.

    Returns:
        Parameters in main memory, of the module's types.

    Raises:
        ModelError: the file is missing, damaged, of another kind, or belongs to another encoder or head.
    """
    metadata, tensors = _read(path)
    if metadata.get("schema") != SCHEMA:
        raise ModelError(
            f"{path} is no start of episodic learning: its schema is {metadata.get('schema')}, not {SCHEMA}.",
            "Give a file that `anomalabel train episodes` of this version wrote.",
        )
    try:
        stored = (metadata["encoder_sha256"], metadata["head"])
        training = EpisodicTraining.model_validate_json(metadata["training"])
        origin = StartOrigin.model_validate_json(metadata["origin"])
    except (KeyError, ValidationError) as error:
        raise _damaged(path, error) from error
    if stored[0] != encoder_sha256:
        raise ModelError(
            f"{path} was learned on another encoder ({stored[0][:12]}) than the one in use ({encoder_sha256[:12]}).",
            "Give the encoder it was learned on, or learn the start again.",
        )
    if stored[1] != head:
        raise ModelError(
            f"{path} belongs to another head ({stored[1]}) than the one in use ({head}).",
            "Use the same settings as when it was learned, or learn the start again.",
        )
    wanted = {name: value for name, value in module.named_parameters() if value.requires_grad}
    _check_shapes(path, tensors, wanted)
    parameters = {name: tensors[name].to(value.dtype) for name, value in wanted.items()}
    return LearnedStart(parameters, encoder_sha256, head, training, origin)


def _read(path: Path) -> tuple[dict[str, str], Parameters]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelError(
            f"There is no learned start {path}.", "Give the file that `anomalabel train episodes` wrote."
        ) from error
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelError:
    reason = str(error).splitlines()[0].rstrip(". ") if str(error) else type(error).__name__
    return ModelError(f"The learned start {path} cannot be read: {reason}.", "Copy it again, or learn it again.")


def _check_shapes(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise ModelError unless names and shapes agree and every number is finite."""
    remedy = "Use the same settings as when it was learned, or learn the start again."
    for name in sorted(found.keys() | wanted.keys()):
        has, needs = (tuple(side[name].shape) if name in side else None for side in (found, wanted))
        if has != needs:
            raise ModelError(
                f"{path} does not fit the head: {name} is {has or 'missing'}, expected {needs or 'nothing'}.", remedy
            )
        if not torch.isfinite(found[name]).all():
            raise ModelError(f"{path} holds numbers that are not finite in {name}.", "Learn the start again.")
