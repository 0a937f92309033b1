"""What was evaluated, with what and by which rules: the part of the results that lets somebody else repeat them."""

from __future__ import annotations

import platform
from collections.abc import Sequence, Set
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

from anomalabel import __version__
from anomalabel.config import AnatomyConfig
from anomalabel.evaluation.cases import EvaluationCase, EvaluationSet
from anomalabel.evaluation.duplicates import SIMILARITY
from anomalabel.evaluation.grid import GRID_RULE
from anomalabel.evaluation.look_alikes import LookAlike
from anomalabel.evaluation.protocol import EMPTY_MASK_RULE, Draw, EvaluationRequest, rules_of
from anomalabel.evaluation.report.content import MethodResult, SetFacts
from anomalabel.evaluation.report.content import NearDuplicate as ShownDuplicate
from anomalabel.finding import PromptTexts

LISTED_SHOTS = 1000
"""More names than these are counted only: they are all that the set has, or nearly."""

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "monai", "timm", "open_clip_torch")


def shown_duplicate(pair: LookAlike) -> ShownDuplicate:
    """A pair as the report shows it."""
    return ShownDuplicate(pair.shot, pair.test, f"{pair.similarity:.2f}{', mirrored' if pair.mirrored else ''}")


def facts_of(name: str, tested: Sequence[EvaluationCase]) -> SetFacts:
    """Counts of the test images; a case counts as having boxes where a mask or a box file tells the place."""
    sick = [case for case in tested if case.abnormal]
    patients = {case.patient for case in tested if case.patient is not None}
    return SetFacts(
        name=name,
        normal=len(tested) - len(sick),
        abnormal=len(sick),
        with_masks=sum(case.mask is not None for case in sick),
        with_boxes=sum(case.mask is not None or case.boxes is not None for case in sick),
        patients=len(patients) or None,
        without_patient=sum(case.patient is None for case in tested) if patients else 0,
    )


def settings_of(request: EvaluationRequest, prompts: PromptTexts) -> dict[str, str]:
    """Settings by name, as the report's table shows them."""
    settings = {
        "config": request.config,
        "model": request.backbone,
        "shots": ", ".join(str(count) for count in sorted(request.shots)) + (" (all)" if request.all_shots else ""),
        "draws": str(request.draws),
        "seed": str(request.seed),
        "resamples": str(request.resamples),
        "device": request.device,
    }
    if prompts.positive:
        settings |= {"positive": "; ".join(prompts.positive), "negative": "; ".join(prompts.negative)}
    return settings | ({"command": request.command} if request.command else {})


def protocol_of(
    evaluation_set: EvaluationSet,
    request: EvaluationRequest,
    config: AnatomyConfig,
    prompts: PromptTexts,
    draws: Sequence[Draw],
    methods: Sequence[MethodResult],
    facts: SetFacts,
    duplicates: Sequence[LookAlike],
    failed: Set[EvaluationCase],
) -> dict[str, Any]:
    """The entry `protocol` of metrics.json.

    Args:
        draws: as they were tried.
        methods: for their thresholds.
        facts: of all images that were tested in any draw.
        failed: images that were left out.
    """
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "set": asdict(facts),
        "config": config.model_dump(mode="json"),
        "model": request.backbone,
        "prompts": prompts.model_dump(mode="json"),
        "shots": sorted(request.shots),
        "all_shots": request.all_shots,
        "seed": request.seed,
        "resamples": request.resamples,
        "device": request.device,
        "command": request.command,
        "image_quantile": request.image_quantile,
        "pixel_quantile": request.pixel_quantile,
        "rules": list(rules_of(request, evaluation_set)),
        "empty_mask": EMPTY_MASK_RULE,
        "grid": GRID_RULE,
        "draws": [_draw(draw, failed) for draw in draws],
        "thresholds": [
            {"method": method.name, "shots": shot.shots, "draw": number, **asdict(draw.thresholds)}
            for method in methods
            for shot in method.shots
            for number, draw in enumerate(shot.draws)
        ],
        "near_duplicate_similarity": SIMILARITY,
        "near_duplicates": [asdict(pair) for pair in duplicates],
        "versions": {
            "anomalabel": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in PACKAGES},
        },
    }


def _draw(draw: Draw, failed: Set[EvaluationCase]) -> dict[str, Any]:
    tested = [case for case in draw.tested if case not in failed]
    facts = facts_of("", tested)
    return {
        "draw": draw.number,
        "shots": [case.identity for case in draw.shots] if len(draw.shots) <= LISTED_SHOTS else None,
        "shot_count": len(draw.shots),
        "calibration": [case.identity for case in draw.calibration],
        "normal": facts.normal,
        "abnormal": facts.abnormal,
        "patients": facts.patients,
    }
