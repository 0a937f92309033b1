"""Takes methods through the protocol: learn from shots, set thresholds on held-out ones, look at every test image.

The images are the outer loop and the draws the inner one, so that each image is read, prepared and encoded once however
many draws there are; a method that does not learn from shots looks at it once for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from anomalabel.config import AnatomyConfig, Method
from anomalabel.detectors.base import CalibratedDetector, DescribedDetector, Detection, Detector, no_progress
from anomalabel.detectors.context import BuildContext
from anomalabel.detectors.learn_few_shot import learned_before
from anomalabel.detectors.registry import BUILDERS, build_detector
from anomalabel.errors import ImageReadError, ModelError
from anomalabel.evaluation.calibration import HealthyOutcome, SelfCalibrated, folds_of, thresholds_from
from anomalabel.evaluation.cases import EvaluationCase, Thresholds
from anomalabel.evaluation.images import CaseLoader, HealthyImages, LoadedCase
from anomalabel.evaluation.metrics.summary import summarise
from anomalabel.evaluation.outcomes import example_of, outcome_of
from anomalabel.evaluation.protocol import MOST_CALIBRATION_IMAGES, Draw, EvaluationRequest, seeds_of
from anomalabel.evaluation.reading import Failures, Watch
from anomalabel.evaluation.store import ResultStore, code_version, key_of
from anomalabel.finding import ModelIdentity
from anomalabel.localization.conformal import map_profile

PROBABILITY_METHODS: Mapping[Method, float] = {"clap": 0.5, "plp": 0.5}
"""Methods whose image score is a probability, with the threshold that stands in where there is no healthy image."""

REMEMBERED_BYTES = 1 << 28
"""Maps of shots that are kept for the draws in which the same image is tested."""


@dataclass(frozen=True)
class DrawRun:
    """One method on one draw: everything but the images' results, which lie in the store.

    Args:
        method: its name.
        shots: how many healthy images it was given.
        draw: number of the draw.
        seed: of what the method does at random.
        thresholds: from held-out healthy images; NaN where there is none.
        description: of the method, see `detectors.base.DescribedDetector`; "" where it has none.
        keys: identity of each tested image to the key of its summary.
        example_keys: the same for what the report may show; empty where it shows nothing of this run.
    """

    method: Method
    shots: int
    draw: int
    seed: int
    thresholds: Thresholds
    description: str
    keys: Mapping[str, str]
    example_keys: Mapping[str, str]


class MethodRunner:
    """One method on all draws.

    Args:
        method: its name in the registry.
        context: what detectors are built from; its healthy images are put in here.
        request: quantiles and shots.
        loader: of images.
        hashes: of the files of every readable image.
        store: of finished results.
    """

    def __init__(
        self,
        method: Method,
        context: BuildContext,
        request: EvaluationRequest,
        loader: CaseLoader,
        hashes: Mapping[EvaluationCase, str],
        store: ResultStore,
    ) -> None:
        self.method = method
        self.learns = BUILDERS[method].needs_healthy
        self._context = context
        self._request = request
        self._loader = loader
        self._hashes = hashes
        self._store = store
        self._single: Detector | None = None if self.learns else build_detector(method, context)
        self._built: dict[tuple[int, tuple[EvaluationCase, ...]], Detector] = {}
        self._remembered: dict[Path, Detection] = {}
        self._remembered_bytes = 0
        self._shots: frozenset[Path] = frozenset()
        self.identity = self._identity()
        self._fingerprint = self._fingerprint_of(context.config)

    def run(
        self, draws: Sequence[Draw], failed: Failures, examples_of: tuple[int, int] | None, watch: Watch
    ) -> tuple[DrawRun, ...]:
        """Every draw with every number of shots.

        Args:
            draws: shots and test images.
            failed: images that cannot be read are added, with the reason.
            examples_of: shots and draw whose images may be shown in the report; None for none.
            watch: told what is done; may raise to stop.

        Raises:
            AnomaLabelError: the method cannot be built or its model answers with no number.
        """
        self._shots = frozenset(case.image for draw in draws for case in draw.shots)
        runs = []
        for shots in sorted(self._request.shots):
            seeds = seeds_of(draws, shots, self._request.seed) if self.learns else {}
            for draw in draws:
                seed = seeds.get(draw.number, self._request.seed)
                runs.append(self._plan(draw, shots, seed, watch, examples_of == (shots, draw.number)))
        self._test(runs, draws, failed, watch)
        return tuple(runs)

    def _plan(self, draw: Draw, shots: int, seed: int, watch: Watch, shown: bool) -> DrawRun:
        learnt = draw.learnt(shots)
        watch(f"{self.method}: thresholds from {len(learnt)} shots, draw {draw.number + 1}", 0, 1)
        told = self._calibrated(learnt, seed, _stages(watch, f"{self.method}, draw {draw.number + 1}"))
        thresholds = told.thresholds
        parts = {
            "fingerprint": self._fingerprint,
            **self._learnt_key(learnt if self.learns else (), seed),
            "thresholds": [repr(thresholds.image), repr(thresholds.pixel)],
        }
        keys, example_keys = (
            {case.identity: key_of({**parts, "kind": kind, "case": self._facts(case)}) for case in draw.tested}
            for kind in ("summary", "example")
        )
        shown_keys = example_keys if shown else {}
        return DrawRun(self.method, shots, draw.number, seed, thresholds, told.description, keys, shown_keys)

    def _test(self, runs: Sequence[DrawRun], draws: Sequence[Draw], failed: Failures, watch: Watch) -> None:
        cases = {case.identity: case for draw in draws for case in draw.tested if case not in failed}
        missing = {
            identity: [run for run in runs if identity in run.keys and self._lacks(run, identity)] for identity in cases
        }
        learnt = {draw.number: draw for draw in draws}
        detectors: dict[tuple[int, int], Detector] = {}
        for run in {id(run): run for wanted in missing.values() for run in wanted}.values():
            watch(f"{self.method}: learning from {run.shots} shots, draw {run.draw + 1}", 0, 1)
            stages = _stages(watch, f"{self.method}, draw {run.draw + 1}")
            detectors[run.shots, run.draw] = self._detector(learnt[run.draw].learnt(run.shots), run.seed, stages)
        for number, (identity, case) in enumerate(cases.items()):
            watch(f"{self.method}: testing", number, len(cases))
            if not missing[identity]:
                continue
            try:
                loaded = self._loader.load(case)
                self._store.put(self._records(loaded, missing[identity], detectors))
            except ImageReadError as error:
                failed[case] = str(error)
        watch(f"{self.method}: testing", len(cases), len(cases))

    def _lacks(self, run: DrawRun, identity: str) -> bool:
        wanted = [run.keys[identity], *([run.example_keys[identity]] if run.example_keys else [])]
        return any(key not in self._store for key in wanted)

    def _records(
        self, loaded: LoadedCase, runs: Sequence[DrawRun], detectors: Mapping[tuple[int, int], Detector]
    ) -> dict[str, object]:
        identity = loaded.case.identity
        records: dict[str, object] = {}
        shared = None if self._single is None else self._recalled(loaded)
        for run in runs:
            detection = shared or self._detect(detectors[run.shots, run.draw], loaded)
            outcome = outcome_of(loaded, detection, run.thresholds, self._context.config)
            records[run.keys[identity]] = summarise(outcome, run.thresholds)
            if run.example_keys:
                records[run.example_keys[identity]] = example_of(loaded, outcome)
        return records

    def _calibrated(self, learnt: Sequence[EvaluationCase], seed: int, watch: Watch) -> SelfCalibrated:
        if BUILDERS[self.method].calibrates:
            return self._calibrated_by_itself(learnt, seed, watch)
        if self.learns:
            outcomes = self._left_out(learnt, seed, watch)
            held_out = "each judged by a detector that learnt from the others"
        else:
            outcomes = self._healthy_outcomes(learnt[:MOST_CALIBRATION_IMAGES], (), seed, watch)
            held_out = "the method learns from none of them"
        thresholds = thresholds_from(
            outcomes,
            self._request.image_quantile,
            self._request.pixel_quantile,
            PROBABILITY_METHODS.get(self.method),
            held_out,
        )
        return SelfCalibrated(thresholds, _description(self._single))

    def _calibrated_by_itself(self, learnt: Sequence[EvaluationCase], seed: int, watch: Watch) -> SelfCalibrated:
        """What a method tells that sets its thresholds while it learns; remembered, since learning takes long."""
        key = key_of({"fingerprint": self._fingerprint, "kind": "thresholds", **self._learnt_key(learnt, seed)})
        stored = self._store.get(key)
        if isinstance(stored, SelfCalibrated):
            return stored
        detector = self._detector(learnt, seed, watch)
        if not isinstance(detector, CalibratedDetector):
            raise TypeError(f"{self.method} is registered as calibrated and sets no thresholds")
        image, pixel = detector.image_threshold, detector.pixel_threshold
        thresholds = Thresholds(image.value, pixel.value, f"{image.rule}; {pixel.rule}; set by the method itself")
        told = SelfCalibrated(thresholds, _description(detector))
        self._store.put({key: told})
        return told

    def _left_out(self, learnt: Sequence[EvaluationCase], seed: int, watch: Watch) -> list[HealthyOutcome]:
        """What detectors built from the other shots say about each."""
        outcomes = []
        for fold in folds_of(learnt):
            others = [learnt[number] for number in fold.learnt]
            outcomes += self._healthy_outcomes([learnt[number] for number in fold.judged], others, seed, watch)
        return outcomes

    def _healthy_outcomes(
        self, judged: Sequence[EvaluationCase], others: Sequence[EvaluationCase], seed: int, watch: Watch
    ) -> list[HealthyOutcome]:
        """What a method that learned from the others says about each."""
        parts = {"fingerprint": self._fingerprint, "kind": "healthy", **self._learnt_key(others, seed)}
        keys = [key_of({**parts, "case": self._hashes[case]}) for case in judged]
        stored = [outcome for key in keys if isinstance(outcome := self._store.get(key), HealthyOutcome)]
        if len(stored) == len(keys):
            return stored
        detector = self._detector(others, seed, watch)
        outcomes = []
        for case in judged:
            loaded = self._loader.load(case)
            detection = self._recalled(loaded) if self._single is not None else self._detect(detector, loaded)
            outcomes.append(HealthyOutcome(detection.image_score, map_profile(detection.anomaly_map)))
        self._store.put(dict(zip(keys, outcomes, strict=True)))
        return outcomes

    def _detector(self, learnt: Sequence[EvaluationCase], seed: int, watch: Watch) -> Detector:
        if self._single is not None:
            return self._single
        wanted = seed, tuple(learnt)
        if wanted not in self._built:
            healthy = HealthyImages(learnt, self._loader)
            detector = build_detector(self.method, replace(self._context, healthy=healthy, seed=seed, watch=watch))
            if not BUILDERS[self.method].calibrates:
                return detector
            self._built[wanted] = detector
        return self._built[wanted]

    def _recalled(self, loaded: LoadedCase) -> Detection:
        """What a method that does not learn says about an image: the same for all draws, so it is asked once."""
        image = loaded.case.image
        if image in self._remembered:
            return self._remembered[image]
        if self._single is None:
            raise ValueError(f"{self.method} learns, so what it says depends on the draw")
        detection = self._detect(self._single, loaded)
        if image in self._shots and self._remembered_bytes + detection.anomaly_map.nbytes <= REMEMBERED_BYTES:
            self._remembered[image] = detection
            self._remembered_bytes += detection.anomaly_map.nbytes
        return detection

    def _detect(self, detector: Detector, loaded: LoadedCase) -> Detection:
        """A detection whose map lies on the evaluation grid."""
        image = loaded.image
        found = detector.detect(image.prepared, image.affine_ras, image.positions, no_progress)
        detection = replace(found, anomaly_map=loaded.grid.of_map(found.anomaly_map))
        if not np.isfinite(detection.image_score):
            raise ModelError(
                f"{self.method} gave {image.source} the score {detection.image_score}.",
                "Run `anomalabel models check` on the model, or pull it again.",
            )
        if not np.isfinite(detection.anomaly_map).any():
            raise ImageReadError(f"Nothing was seen in {image.source}.", "Turn the foreground mask off in the config.")
        return detection

    def _identity(self) -> ModelIdentity:
        """Of the weights that decide what the method says, known before any shot is learnt."""
        return self._context.encoders.patch_encoder().identity if self._single is None else self._single.identity

    def _fingerprint_of(self, config: AnatomyConfig) -> str:
        prompts = self._context.prompts.model_dump_json() if BUILDERS[self.method].uses_prompts else ""
        return key_of(
            {
                "code": code_version(),
                "method": self.method,
                "config": config.deciding_json(),
                "weights": self.identity.model_dump_json(),
                "prompts": prompts,
                "learned_before": learned_before(self.method, config.few_shot),
                "networks": [network.model_dump_json() for network in self._networks()],
                "seed": self._request.seed,
                "device": self._request.device,
            }
        )

    def _networks(self) -> tuple[ModelIdentity, ...]:
        networks = BUILDERS[self.method].networks
        return networks(self._context) if networks else ()

    def _learnt_key(self, learnt: Sequence[EvaluationCase], seed: int) -> dict[str, str | int]:
        """What decides a detector besides the fingerprint; the images in one hash, as there may be thousands."""
        return {"shots": key_of({"hashes": [self._hashes[case] for case in learnt]}), "seed": seed}

    def _facts(self, case: EvaluationCase) -> list[str | bool | None]:
        return [self._hashes[case], case.identity, case.abnormal, case.patient]


def _stages(watch: Watch, title: str) -> Watch:
    """A watch whose stages are named as the title's."""
    return lambda stage, done, total: watch(f"{title}: {stage}", done, total)


def _description(detector: Detector | None) -> str:
    return detector.description if isinstance(detector, DescribedDetector) else ""
