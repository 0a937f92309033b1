"""What marks the region to hide: nothing, self-attention (EAR), or attention for texts (PLP, CLAP)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalabel.attention.clap import scale_to_unit
from anomalabel.attention.text_saliency import TextSaliency
from anomalabel.backbones.load_self_attention import ImageTextEncoders, load_self_attention
from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import AnatomyConfig, PreprocessingSettings, Saliency
from anomalabel.finding import PromptTexts
from anomalabel.localization.patch_features import CutSlice, PatchStore, SlicePatches, extract_cut
from anomalabel.volume import FloatArray

ROUNDING = 1e-6
"""A map whose values differ by less than this share of their size is constant: scaling would show rounding alone."""


@dataclass(frozen=True)
class SaliencySources:
    """Where saliency comes from.

    Args:
        encoders: () = nothing is hidden; one = its map; two = the first's map minus the second's.
        name: for reports.
        resolved_self_attention: what loads EAR's network again, to be given as `self_attention`; None without EAR.
    """

    encoders: tuple[PatchEncoder, ...]
    name: str
    resolved_self_attention: str | None = None


def saliency_sources(
    kind: Saliency,
    encoders: ImageTextEncoders,
    prompts: PromptTexts,
    config: AnatomyConfig,
    seed: int,
    self_attention: str | None = None,
) -> SaliencySources:
    """The sources of a kind of saliency.

    Args:
        kind: none, ear, plp or clap.
        encoders: asked for their image-text model by all kinds but none.
        prompts: texts for and against the disease; plp needs the first, clap both.
        config: attention constants, and which network EAR asks.
        seed: of the bottleneck's noise, the same for both sides.
        self_attention: what `resolved_self_attention` said when a model was trained: exactly that is loaded. None takes
            the config's, with the image-text model's own where its weights cannot be had.

    Raises:
        ModelError: the image-text model or the network cannot be loaded, or has no attention of this kind.
        PromptError: a side without texts, or a text that is too long.
    """
    if kind == "none":
        return SaliencySources((), "none: nothing is hidden")
    if kind == "ear":
        wanted = config.reconstruction.self_attention if self_attention is None else self_attention
        loaded = load_self_attention(wanted, encoders, stand_in=self_attention is None)
        reason = "" if loaded.missing is None else f" (no weights of {loaded.missing} at hand)"
        return SaliencySources((loaded.encoder,), f"EAR: {loaded.encoder.identity.name}{reason}", loaded.name)
    model = encoders.image_text_model()
    positive = TextSaliency(model, prompts.positive, config.attention, seed)
    if kind == "plp":
        return SaliencySources((positive,), f"PLP: attention of {model.identity.name} for disease texts")
    negative = TextSaliency(model, prompts.negative, config.attention, seed)
    name = f"CLAP: attention of {model.identity.name} for disease minus for health texts"
    return SaliencySources((positive, negative), name)


def saliency_maps(
    sources: SaliencySources,
    preprocessing: PreprocessingSettings,
    slices: Sequence[CutSlice],
    store: PatchStore | None,
    batch_size: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[FloatArray]:
    """Saliency of slices over the square that frames each (clap.txt section 2.1, the difference of eq. 2's map).

    Each source is scaled to [0, 1] slice by slice over the patches that hold body, and clipped beyond; a constant one
    is 0.

    Args:
        preprocessing: of slices, as the sources are to see them.
        slices: of any number of volumes; gone through once for each source, in order.
        store: keeps what the sources say; None keeps nothing.
        batch_size: slices that a source is asked about together, as far as the store lacks them.
        progress: told slices done and slices in all, each counted once for each source; may raise Cancelled.

    Returns:
        For each slice (rows, columns) float32 on the sources' patch grid, in [-1, 1] of two sources, [0, 1] of one; a
        single 0 (1, 1) without sources.

    Raises:
        ModelError: a source answers with NaN or infinity.
    """
    if not sources.encoders:
        return [np.zeros((1, 1), dtype=np.float32) for _ in slices]
    total = len(slices) * len(sources.encoders)
    scaled = []
    for number, encoder in enumerate(sources.encoders):
        before = number * len(slices)

        def tell(done: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total)

        patches = extract_cut(encoder, preprocessing, slices, store, batch_size, tell)
        scaled.append([_scaled(one) for one in patches])
    return scaled[0] if len(scaled) == 1 else [one - other for one, other in zip(*scaled, strict=True)]


def _scaled(patches: SlicePatches) -> FloatArray:
    values = patches.levels[0][0].float().cpu().numpy()
    low, high = _range(values[patches.seen] if patches.seen.any() else values)
    return scale_to_unit(values, low, high)


def _range(values: NDArray[np.float32]) -> tuple[float, float]:
    """Lowest and highest value, equal where only rounding lies between."""
    low, high = float(values.min()), float(values.max())
    return (low, low) if high - low <= ROUNDING * max(abs(low), abs(high)) else (low, high)
