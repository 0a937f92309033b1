"""Trains the small image-text model that ships with the package."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as functional
from safetensors.torch import load_file, save_file
from torch import Tensor

from anomalabel.backbones.blocks import run_blocks
from anomalabel.backbones.loading import CONFIG_FILE, MERGES_FILE, VOCABULARY_FILE, WEIGHT_FILES, read_config
from anomalabel.backbones.towers import image_tower, normaliser
from anomalabel.training.captions import every_wording
from anomalabel.training.images import Batch, BatchMaker, BatchPlan, TrainingImages
from anomalabel.training.initialisation import initialise_for_few_images
from anomalabel.training.losses import caption_loss, patch_loss, planted_pair_loss, status_loss
from anomalabel.training.tokenizer import known_words, learn_merges, vocabulary_size, write_merges

SUPERVISED_BLOCKS = (5, 8, 11)
"""Blocks whose patches are tied to the texts, so that every depth keeps where things are."""

SIDE = 224
TEXT_BATCH = 128
PATCH = 16

PLAN = BatchPlan(
    singles={
        ("brain", "glioma"): 2,
        ("brain", "meningioma"): 1,
        ("brain", "pituitary"): 1,
        ("brain", "multiple sclerosis"): 1,
        ("breast", "benign"): 1,
        ("breast", "malignant"): 1,
        ("breast", "healthy"): 1,
        ("chest", "healthy"): 2,
        ("chest", "pneumonia"): 2,
    },
    planted={"brain": 5, "breast": 1, "chest": 1},
    crops={"brain": 2, "breast": 1},
)


@dataclass(frozen=True)
class EmbeddedTraining:
    """How the embedded model is trained.

    Args:
        minutes: wall-clock length; the learning rate falls to zero over it.
        dropped_patches: share of patches left out of each image in the first part (FLIP, Li et al. 2023).
        dense_from: part of the time, 0 to 1, from which whole images are shown.
        text_only: part of the time in which the text tower alone learns which wordings mean the same; without it the
            image tower has nothing to point at, and both stand still for many minutes.
    """

    minutes: float = 29.0
    width: int = 192
    depth: int = 12
    heads: int = 3
    embedding: int = 192
    text_width: int = 192
    text_depth: int = 3
    context_length: int = 64
    merges: int = 1500
    learning_rate: float = 6e-4
    text_only: float = 0.015
    weight_decay: float = 0.05
    warmup: float = 0.04
    dropped_patches: float = 0.5
    dense_from: float = 0.7
    seed: int = 0


def model_config(settings: EmbeddedTraining, vocabulary: int) -> dict[str, Any]:
    """The model's `open_clip_config.json`."""
    return {
        "model_cfg": {
            "embed_dim": settings.embedding,
            "custom_text": True,
            "vision_cfg": {
                "image_size": SIDE,
                "layers": settings.depth,
                "width": settings.width,
                "head_width": settings.width // settings.heads,
                "patch_size": PATCH,
                "pool_type": "avg",
            },
            "text_cfg": {
                "context_length": settings.context_length,
                "vocab_size": vocabulary,
                "width": settings.text_width,
                "heads": settings.text_width // 64,
                "layers": settings.text_depth,
            },
        },
        "preprocess_cfg": {"mean": [0.3, 0.3, 0.3], "std": [0.28, 0.28, 0.28]},
    }


def train_embedded(
    images: TrainingImages,
    folder: Path,
    settings: EmbeddedTraining,
    report: Callable[[float, dict[str, float]], None],
    start: Path | None = None,
) -> None:
    """Train and write `open_clip_config.json`, weights (float16) and tokenizer merges into `folder`.

    Args:
        start: folder of an embedded model to go on from; None starts anew.
        report: called after each step with the part of the time that is over (0 to 1) and the losses.
    """
    torch.manual_seed(settings.seed)
    folder.mkdir(parents=True, exist_ok=True)
    if start is None:
        merges = learn_merges(every_wording(), settings.merges)
        write_merges(folder / MERGES_FILE, merges)
        config = model_config(settings, vocabulary_size(merges))
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2))
    else:
        config = read_config(start)
        for name in (MERGES_FILE, CONFIG_FILE):
            shutil.copy(start / name, folder / name)
    (folder / VOCABULARY_FILE).write_text(json.dumps(known_words(every_wording())))
    model = open_clip.CustomTextCLIP(**{k: v for k, v in config["model_cfg"].items() if k != "custom_text"})
    tokenizer = open_clip.SimpleTokenizer(bpe_path=str(folder / MERGES_FILE), context_length=settings.context_length)
    if start is None:
        initialise_for_few_images(model.visual)
    else:
        model.load_state_dict(load_file(start / WEIGHT_FILES[0]))
    step = _Step(model, tokenizer, config)
    batches = BatchMaker(images, PLAN, settings.seed)
    optimiser = torch.optim.AdamW(_groups(step, settings), lr=settings.learning_rate, betas=(0.9, 0.98))
    for part in _clock(settings.minutes * 60):
        rate = min(part / settings.warmup, 1.0) * 0.5 * (1 + math.cos(math.pi * part))
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * max(rate, 0.01)
        dropped = settings.dropped_patches if part < settings.dense_from else 0.0
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if part < settings.text_only:
                losses = step.text_losses(batches.draw_words(TEXT_BATCH))
            else:
                losses = step.losses(batches.draw(), dropped)
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(step.parameters(), 1.0)
        optimiser.step()
        report(part, {name: float(loss.detach()) for name, loss in losses.items()})
    weights = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / WEIGHT_FILES[0])


class _Step(torch.nn.Module):
    """One training step's forward pass."""

    def __init__(self, model: open_clip.CustomTextCLIP, tokenizer: open_clip.SimpleTokenizer, config: dict) -> None:
        super().__init__()
        self.model = model
        self.patch_scale = torch.nn.Parameter(torch.tensor(math.log(10.0)))
        self._tokenizer = tokenizer
        self._tower = image_tower(model.visual)
        self._causal_mask: Tensor = model.text.attn_mask
        model.visual.preprocess_cfg = config["preprocess_cfg"]
        self._mean, self._std = normaliser(model.visual, torch.device("cpu"))

    def text_losses(self, words: list[tuple[str, str]]) -> dict[str, Tensor]:
        """Pairs of (wording, meaning): wordings of one meaning come together, others apart."""
        texts = self._encode([[text for text, _ in words]])[0]
        meanings = [meaning for _, meaning in words]
        same = torch.tensor([[mine == theirs for theirs in meanings] for mine in meanings])
        return {"text": caption_loss(texts, texts, same, self.model.logit_scale.exp().clamp(max=100))}

    def losses(self, batch: Batch, dropped: float) -> dict[str, Tensor]:
        tokens, kept = self._embed(batch.images, dropped)
        last = self._tower.depth - 1
        patches = []
        for number, block in enumerate(self._tower.blocks):
            tokens = run_blocks([block], tokens)
            if number in SUPERVISED_BLOCKS:
                patches.append(functional.normalize(self._tower.project_patches(tokens).float(), dim=-1))
        images = functional.normalize(self._tower.embed_from(tokens, last).float(), dim=-1)
        coverage = functional.avg_pool2d(batch.lesion[:, None], PATCH).flatten(1).gather(1, kept)
        positive, negative, captions = self._encode([batch.positive, batch.negative, batch.captions])
        same = torch.tensor(
            [
                [
                    mine == theirs or words == others
                    for theirs, others in zip(batch.meaning, batch.captions, strict=True)
                ]
                for mine, words in zip(batch.meaning, batch.captions, strict=True)
            ]
        )
        scale = self.model.logit_scale.exp().clamp(max=100)
        patch_scale = self.patch_scale.exp().clamp(max=100)
        return {
            "caption": 0.5 * caption_loss(images, captions, same, scale),
            "status": status_loss(images, positive, negative, batch.diseased, scale),
            "pair": 0.5
            * planted_pair_loss(
                images[batch.planted], images[batch.clean], positive[batch.planted], negative[batch.planted], scale
            ),
            "patch": torch.stack(
                [patch_loss(of_block, coverage, batch.located, positive, negative, patch_scale) for of_block in patches]
            ).sum(),
        }

    def _embed(self, images: Tensor, dropped: float) -> tuple[Tensor, Tensor]:
        """Tokens before the first block, class token first, and which patches (N, kept) they stand for."""
        colour = (images[:, None].expand(-1, 3, -1, -1) - self._mean) / self._std
        tokens = self._tower.embed(colour)
        count = tokens.shape[1] - 1
        order = torch.rand(tokens.shape[0], count).argsort(1)
        kept = order[:, : count - int(count * dropped)]
        chosen = tokens[:, 1:].gather(1, kept[..., None].expand(-1, -1, tokens.shape[-1]))
        return torch.cat([tokens[:, :1], chosen], 1), kept

    def _encode(self, lists: list[list[str]]) -> list[Tensor]:
        codes = self._tokenizer([text for texts in lists for text in texts])
        longest = int((codes != 0).sum(1).max())
        longest += -longest % 8
        self.model.text.attn_mask = self._causal_mask[:longest, :longest]
        encoded = functional.normalize(self.model.encode_text(codes[:, :longest]).float(), dim=-1)
        self.model.text.attn_mask = self._causal_mask
        return list(encoded.split([len(texts) for texts in lists]))


def _groups(step: _Step, settings: EmbeddedTraining) -> list[dict[str, object]]:
    decayed = [value for value in step.parameters() if value.ndim >= 2]
    plain = [value for value in step.parameters() if value.ndim < 2]
    return [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _clock(seconds: float) -> Iterator[float]:
    start = time.monotonic()
    while (part := (time.monotonic() - start) / seconds) < 1:
        yield part
