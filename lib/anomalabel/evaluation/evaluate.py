"""One evaluation from images to metrics.json and report.html."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from anomalabel import __version__
from anomalabel.backbones.encoders import NamedEncoders
from anomalabel.config import AnatomyConfig, DetectionRequest, Method, load_config
from anomalabel.detectors.context import BuildContext, Encoders
from anomalabel.detectors.registry import BUILDERS, texts_of
from anomalabel.errors import ConfigError, ImageReadError
from anomalabel.evaluation.calibration import HealthyOutcome, SelfCalibrated
from anomalabel.evaluation.cases import Box, EvaluationCase, EvaluationSet, Thresholds
from anomalabel.evaluation.description import facts_of, protocol_of, settings_of, shown_duplicate
from anomalabel.evaluation.gathering import SUMMARY_RECORDS, Gathering
from anomalabel.evaluation.images import CaseLoader
from anomalabel.evaluation.look_alikes import AlikePairs, look_alikes
from anomalabel.evaluation.outcomes import Example
from anomalabel.evaluation.protocol import Draw, EvaluationRequest, plan_draws, with_all_counted
from anomalabel.evaluation.reading import Failures, Watch, hash_images, unloadable
from anomalabel.evaluation.report.content import FailedImage, ReportContent
from anomalabel.evaluation.report.page import write_report
from anomalabel.evaluation.results import metrics_document, write_metrics
from anomalabel.evaluation.runner import DrawRun, MethodRunner
from anomalabel.evaluation.store import open_store
from anomalabel.finding import ModelIdentity, PromptTexts
from anomalabel.localization.patch_features import FeatureStore, PatchStore
from anomalabel.localization.stored_features import stored_features

METRICS_FILE, REPORT_FILE = "metrics.json", "report.html"
EXAMPLE_DRAW = 0
RECORDS = (HealthyOutcome, SelfCalibrated, Example, Box, Thresholds, AlikePairs, *SUMMARY_RECORDS)


@dataclass(frozen=True)
class Written:
    """What an evaluation left behind, and the images that it had to leave out."""

    metrics: Path
    report: Path
    failed: tuple[FailedImage, ...]


def evaluate(
    evaluation_set: EvaluationSet,
    request: EvaluationRequest,
    out: Path,
    watch: Watch | None = None,
    encoders: Encoders | None = None,
    features: PatchStore | None = None,
    config: AnatomyConfig | None = None,
) -> Written:
    """Try methods on images whose truth is known, and write metrics.json and report.html.

    What is finished is kept in `out`/work, so that the same call goes on after an interruption and repeats nothing.

    Args:
        evaluation_set: images to test on and to draw shots from.
        request: methods, shots and settings.
        out: folder, made where it is missing.
        watch: told what is done; may raise to stop.
        encoders: None loads those that the request names.
        features: keeps patch features from one evaluation to the next; None keeps those of encoders that the request
            names in the user's cache on disk, and those of `encoders` for this evaluation.
        config: settings in place of those that the request names.

    Raises:
        AnomaLabelError: bad settings, too few healthy images, no readable image, or a model that cannot be used.
    """
    watch = watch or _nobody
    _require_shots(request)
    config = config or load_config(request.config)
    asked = DetectionRequest(positive=request.positive, negative=request.negative)
    texts = {method: texts_of(method, config, asked) for method in request.methods}
    prompts = _shown_texts(texts)
    if encoders is None:
        named = NamedEncoders(request.backbone, request.device)
        encoders, features = named, features or stored_features(named)
    context = BuildContext(config, prompts, encoders, seed=request.seed, features=features or FeatureStore())
    loader = CaseLoader(config)
    failed: Failures = {}
    hashes = hash_images((*evaluation_set.cases, *evaluation_set.healthy), failed, watch)
    draws, request = _readable_draws(evaluation_set, request, loader, failed, watch)
    with open_store(out, RECORDS) as store:
        runs: dict[Method, tuple[DrawRun, ...]] = {}
        identities: dict[Method, ModelIdentity] = {}
        for method in request.methods:
            own = replace(context, prompts=texts[method])
            runner = MethodRunner(method, own, request, loader, hashes, store)
            shown = (max(request.shots), EXAMPLE_DRAW) if method == request.methods[0] else None
            runs[method] = runner.run(draws, failed, shown, watch)
            identities[method] = runner.identity
        tested = {case.identity: case for draw in draws for case in draw.tested if case not in failed}
        if not tested:
            cause = next(iter(failed.values()), "The set holds no image to test on.")
            raise ImageReadError(f"No image could be evaluated. {cause}", "Check the folders of images.")
        gathering = Gathering(store, request, runs, {case.identity for case in failed}, watch)
        methods = tuple(gathering.method(method, identities[method]) for method in request.methods)
        comparisons = gathering.comparisons()
        examples = gathering.examples(methods[0])
        duplicates = look_alikes(draws, failed.keys(), hashes, store, watch)
    facts = facts_of(evaluation_set.name, tuple(tested.values()))
    by_name = sorted(failed.items(), key=lambda item: item[0].identity)
    left_out = tuple(FailedImage(case.identity, reason) for case, reason in by_name)
    protocol = protocol_of(evaluation_set, request, config, prompts, draws, methods, facts, duplicates, failed.keys())
    content = ReportContent(
        title=f"{', '.join(request.methods)} on {evaluation_set.name}",
        date=protocol["date"],
        version=__version__,
        facts=facts,
        methods=methods,
        protocol=tuple(protocol["rules"]),
        settings=settings_of(request, prompts),
        comparisons=comparisons,
        near_duplicates=tuple(shown_duplicate(pair) for pair in duplicates),
        failed=left_out,
        examples=examples,
    )
    write_metrics(metrics_document(methods, comparisons, left_out, protocol), out / METRICS_FILE)
    write_report(content, out / REPORT_FILE)
    return Written(out / METRICS_FILE, out / REPORT_FILE, left_out)


def _readable_draws(
    evaluation_set: EvaluationSet, request: EvaluationRequest, loader: CaseLoader, failed: Failures, watch: Watch
) -> tuple[tuple[Draw, ...], EvaluationRequest]:
    """Draws whose shots can all be read (with one that cannot they are drawn again without it), and of what numbers."""
    loadable: set[EvaluationCase] = set()
    while True:
        counted = with_all_counted(evaluation_set, request, failed.keys())
        draws = plan_draws(evaluation_set, counted, failed.keys())
        broken = unloadable(draws, loader, watch, loadable)
        if not broken:
            return draws, counted
        failed.update(broken)


def _require_shots(request: EvaluationRequest) -> None:
    """Raise ConfigError where a method that learns from healthy images gets none."""
    learning = [method for method in request.methods if BUILDERS[method].needs_healthy]
    if learning and request.shots == (0,):
        raise ConfigError(f"{learning[0]} learns from healthy images and gets 0 shots.", "Give --shots, such as 16.")


def _shown_texts(texts: Mapping[Method, PromptTexts]) -> PromptTexts:
    """All texts that any method reads, for the record."""
    positive = dict.fromkeys(text for each in texts.values() for text in each.positive)
    negative = dict.fromkeys(text for each in texts.values() for text in each.negative)
    return PromptTexts(positive=tuple(positive), negative=tuple(negative))


def _nobody(what: str, done: int, total: int) -> None:
    """Nobody is watching."""
