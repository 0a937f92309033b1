"""Learns all parts of few-shot localization from healthy images, and judges each image by what did not learn from it.

With few images none can be spared for judging alone. So each head learns without its part of the shots and is judged on
it; new images get the mean of all heads. The bank is judged shot by shot, each time without that shot and its views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from anomalabel.backbones.patch_encoders import PatchEncoder
from anomalabel.config import AnatomyConfig
from anomalabel.errors import ConfigError
from anomalabel.finding import PromptTexts
from anomalabel.localization.calibration import Calibration
from anomalabel.localization.few_shot.head import FewShotHead, HeadShape
from anomalabel.localization.few_shot.model import (
    HEAD,
    ClassTexts,
    FewShotModel,
    LearnedHead,
)
from anomalabel.localization.fusion import MapScale
from anomalabel.localization.normal_bank import NormalBank
from anomalabel.localization.patch_features import PatchStore, SlicePatches
from anomalabel.training.checkpoint import HistoryEntry
from anomalabel.training.few_shot.fit_head import ShotMaterial, TextSource, fit_head
from anomalabel.training.few_shot.shots import Shot, make_views
from anomalabel.training.few_shot.teacher import Teacher
from anomalabel.training.learned_start import LearnedStart, load_start
from anomalabel.volume import FloatArray

FEWEST_SHOTS = 2
"""One to learn from and one to be judged."""

Watch = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is; may raise Cancelled."""


@dataclass(frozen=True)
class HeldOut:
    """A shot, and the model without anything that learned from it.

    Args:
        judge: knows neither the shot nor its views.
        material: the shot and its views.
        maps: (S, rows, columns) the judge's maps of the shot's slices.
    """

    judge: FewShotModel
    material: ShotMaterial
    maps: FloatArray


@dataclass(frozen=True)
class FewShotFit:
    """What was learned.

    Args:
        model: scores new images.
        calibration: thresholds from the held-out maps.
        held_out: one for each shot.
        history: losses, a phase for each head.
        warnings: what a reader of results should know.
    """

    model: FewShotModel
    calibration: Calibration
    held_out: tuple[HeldOut, ...]
    history: tuple[HistoryEntry, ...]
    warnings: tuple[str, ...]


def fit_few_shot(
    shots: Sequence[Shot],
    encoder: PatchEncoder,
    source: TextSource | None,
    config: AnatomyConfig,
    seed: int,
    watch: Watch,
    store: PatchStore | None = None,
    teacher: Teacher | None = None,
) -> FewShotFit:
    """Learn from healthy images.

    Args:
        shots: at least two, from one encoder.
        encoder: frozen.
        source: of text vectors; None where the settings use none.
        config: its `few_shot`, `normal_bank` and `augmentation`.
        seed: of views, first weights and order.
        watch: told what is done.
        store: keeps the features of views.
        teacher: for eq. 13, where it is on.

    Raises:
        ConfigError: fewer than two shots, the parts that are on do not fit the encoder, or the texts alone are on and
            their words unknown.
        ModelError: a part says the same of every healthy patch, or the start from episodes does not fit.
    """
    if len(shots) < FEWEST_SHOTS:
        raise ConfigError(
            f"Few-shot localization learns from at least {FEWEST_SHOTS} healthy images, {len(shots)} came.",
            "Give more healthy images.",
        )
    settings = config.few_shot
    material = []
    for number, shot in enumerate(shots):
        watch("encoding views", number, len(shots))
        views = make_views(shot, encoder, settings, config.augmentation, seed, store)
        told = None if teacher is None else teacher.logits(shot, settings, config.augmentation, seed)
        material.append(ShotMaterial(shot, views, told))
    watch("encoding views", len(shots), len(shots))
    texts, warnings = _plain_texts(source, config, encoder)
    learned, history = _learn_heads(material, encoder, source, config, seed, watch)
    folds = len(learned)
    whole = FewShotModel(settings, None, texts, encoder.text_level, (), {}, config.normal_bank.score_share)
    judges = []
    for number in range(len(material)):
        watch("judging held-out images", number, len(material))
        others = [one for place, one in enumerate(material) if place != number]
        own = (learned[number % folds],) if folds else ()
        judges.append(replace(whole, bank=_bank(others, encoder, config, seed), heads=own))
    raw = [judge.raw_maps(one.shot.patches) for judge, one in zip(judges, material, strict=True)]
    scales = {kind: MapScale.of([maps[kind] for maps in raw], kind) for kind in raw[0]}
    heads = tuple(
        replace(one, scale=MapScale.of([maps[HEAD] for maps in raw[number::folds]], HEAD))
        for number, one in enumerate(learned)
    )
    if folds:
        judges = [replace(judge, heads=(heads[number % folds],)) for number, judge in enumerate(judges)]
        raw = [{**maps, HEAD: _rescaled(maps[HEAD], heads[number % folds].scale)} for number, maps in enumerate(raw)]
    judges = [replace(judge, scales={kind: scales[kind] for kind in scales if kind != HEAD}) for judge in judges]
    held_out = tuple(
        HeldOut(judge, one, judge.fused(maps)) for judge, one, maps in zip(judges, material, raw, strict=True)
    )
    model = replace(judges[0], bank=_bank(material, encoder, config, seed), heads=heads)
    return FewShotFit(model, _calibrate(held_out, config), held_out, tuple(history), tuple(warnings))


def _plain_texts(
    source: TextSource | None, config: AnatomyConfig, encoder: PatchEncoder
) -> tuple[ClassTexts | None, list[str]]:
    """The texts' vectors, unless the part is off or the text tower does not know most of the texts.

    Single texts with words that it never saw are left out: a synonym must not silence the others.
    """
    if not config.few_shot.text or source is None:
        return None, []
    if encoder.text_level is None:
        raise ConfigError(
            "No level of this encoder lives in the texts' space.",
            "Turn few_shot.text off in the config, or choose another encoder.",
        )
    unknown = source.model.unknown_words((*source.prompts.positive, *source.prompts.negative))
    if not unknown:
        return source.plain(), []
    known = _known(source)
    if known is not None:
        return known.plain(), [f"Texts with words that the model never saw are left out: {', '.join(unknown)}."]
    never = f"the model {source.model.identity.name} never saw the words {', '.join(unknown)}."
    if not (config.few_shot.bank or config.few_shot.learns):
        raise ConfigError(
            f"Nothing is left to score with: {never}",
            "Turn few_shot.bank or few_shot.alignment on in the config, or choose another model.",
        )
    return None, [f"The text part is left out: {never}"]


def _known(source: TextSource) -> TextSource | None:
    """The texts all of whose words are known; None where that is less than a third of either side's."""
    sides = {}
    for side in ("positive", "negative"):
        texts = getattr(source.prompts, side)
        sides[side] = tuple(text for text in texts if not source.model.unknown_words((text,)))
        if 3 * len(sides[side]) < max(len(texts), 1):
            return None
    return TextSource(source.model, PromptTexts(**sides))


def _learn_heads(
    material: Sequence[ShotMaterial],
    encoder: PatchEncoder,
    source: TextSource | None,
    config: AnatomyConfig,
    seed: int,
    watch: Watch,
) -> tuple[list[LearnedHead], list[HistoryEntry]]:
    settings = config.few_shot
    history: list[HistoryEntry] = []
    if not settings.learns or source is None:
        return [], history
    folds = min(settings.heads, len(material))
    channels = tuple(level.shape[0] for level in material[0].shot.patches[0].levels)
    embedding = source.plain().healthy.shape[1]
    shape = HeadShape.of(channels, encoder.text_level, embedding, settings)
    start = _start(shape, encoder, config)
    learned = []
    for fold in range(folds):
        name = f"head {fold + 1} of {folds}"

        def tell(epoch: int, losses: dict[str, float], name: str = name) -> None:
            history.append((name, epoch, losses))
            watch(f"learning {name}", epoch + 1, settings.training.epochs)

        watch(f"learning {name}", 0, settings.training.epochs)
        others = [one for number, one in enumerate(material) if number % folds != fold]
        learned.append(fit_head(others, shape, source, settings, seed + fold, tell, start))
    return learned, history


def _start(shape: HeadShape, encoder: PatchEncoder, config: AnatomyConfig) -> LearnedStart | None:
    path = config.few_shot.episodes.path
    if path is None:
        return None
    return load_start(Path(path), encoder.identity.weights_sha256, repr(shape), FewShotHead(shape))


def _bank(
    material: Sequence[ShotMaterial], encoder: PatchEncoder, config: AnatomyConfig, seed: int
) -> NormalBank | None:
    """Of the shots as they are and, with augmentation, of their views without anomaly."""
    settings = config.few_shot
    if not settings.bank:
        return None
    healthy: list[SlicePatches] = []
    for one in material:
        healthy += one.shot.patches
        healthy += one.views.healthy if settings.augmentation else ()
    own = config.normal_bank.model_copy(update={"maximum_patches": settings.bank_patches})
    return NormalBank(healthy, own, seed, encoder.level_weights)


def _rescaled(maps: FloatArray, scale: MapScale) -> FloatArray:
    return (maps - scale.mean) / scale.deviation


def _calibrate(held_out: Sequence[HeldOut], config: AnatomyConfig) -> Calibration:
    settings = config.few_shot
    scores = [one.judge.image_score(one.maps) for one in held_out]
    maps = [one.maps for one in held_out]
    return Calibration.of(scores, maps, settings.false_positive_rate, settings.pixel_quantile, "refitted")
