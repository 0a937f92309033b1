"""Slices whose features are drawn, and a model made by hand of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from anomalabel.config import FewShotSettings, NormalBankSettings
from anomalabel.localization.few_shot.head import FewShotHead, HeadShape
from anomalabel.localization.few_shot.model import ClassTexts, FewShotModel, LearnedHead
from anomalabel.localization.fusion import MapScale
from anomalabel.localization.normal_bank import NormalBank
from anomalabel.localization.patch_features import SlicePatches
from anomalabel.preprocessing.framing import SquareFrame

CHANNELS = (5, 6, 4)
TEXT_LEVEL = 2
GRID = (3, 4)


def drawn_slices(seed: int, count: int = 2) -> list[SlicePatches]:
    """`count` slices of three levels on one grid; the first row of the first slice holds no body."""
    generator = torch.Generator().manual_seed(seed)
    frame = SquareFrame.around(GRID, (1.0, 1.0), 12, np.ones(GRID, dtype=bool))
    slices = []
    for number in range(count):
        seen = np.ones(GRID, dtype=bool)
        seen[0] = number > 0
        levels = tuple(torch.randn(channels, *GRID, generator=generator) for channels in CHANNELS)
        slices.append(SlicePatches(frame, seen, levels))
    return slices


@pytest.fixture
def slices() -> Callable[..., list[SlicePatches]]:
    """See `drawn_slices`."""
    return drawn_slices


@pytest.fixture
def drawn_model() -> Callable[..., FewShotModel]:
    """A model whose parts are drawn: bank, texts and two heads with different scales, as far as the settings say."""

    def make(**values: object) -> FewShotModel:
        settings = FewShotSettings.model_validate(values)
        generator = torch.Generator().manual_seed(5)

        def texts() -> ClassTexts:
            return ClassTexts(torch.randn(3, 4, generator=generator), torch.randn(2, 4, generator=generator))

        heads = []
        for number in range(2 if settings.learns else 0):
            head = FewShotHead(HeadShape.of(CHANNELS, TEXT_LEVEL, 4, settings), generator)
            if settings.alignment:
                head.adapters[str(TEXT_LEVEL)].weight.data.normal_(generator=generator)
            heads.append(LearnedHead(head.requires_grad_(False), texts(), MapScale(0.5 + number, 2.0 - number)))
        bank = NormalBank(drawn_slices(9, 4), NormalBankSettings(), 0) if settings.bank else None
        scales = {"bank": MapScale(3.0, 0.7), "text": MapScale(0.4, 0.2)}
        there = {"bank": settings.bank, "text": settings.text}
        return FewShotModel(
            settings,
            bank,
            texts() if settings.text else None,
            TEXT_LEVEL,
            tuple(heads),
            {kind: scale for kind, scale in scales.items() if there[kind]},
            0.25,
        )

    return make
