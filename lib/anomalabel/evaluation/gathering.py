"""Collects finished runs from the store into numbers, comparisons and examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TypeVar

import numpy as np

from anomalabel.config import Method
from anomalabel.errors import OutputError
from anomalabel.evaluation.metrics.box_matching import MatchedFindings, ScoredHits
from anomalabel.evaluation.metrics.pixel_level import PixelSummary
from anomalabel.evaluation.metrics.pixel_pool import PixelRanks
from anomalabel.evaluation.metrics.pointing import Pointing
from anomalabel.evaluation.metrics.sketch import Sketch
from anomalabel.evaluation.metrics.summary import CaseSummary
from anomalabel.evaluation.metrics.surface import SurfaceDistances
from anomalabel.evaluation.outcomes import Example
from anomalabel.evaluation.protocol import EvaluationRequest
from anomalabel.evaluation.reading import Watch
from anomalabel.evaluation.report.content import Comparison, MethodResult, ReportExample
from anomalabel.evaluation.report.examples import choose_examples
from anomalabel.evaluation.results import comparison_of, shot_result
from anomalabel.evaluation.runner import DrawRun
from anomalabel.evaluation.significance import compare_methods
from anomalabel.evaluation.store import ResultStore
from anomalabel.finding import ModelIdentity

R = TypeVar("R")

SUMMARY_RECORDS = (
    CaseSummary,
    PixelSummary,
    PixelRanks,
    Sketch,
    SurfaceDistances,
    MatchedFindings,
    ScoredHits,
    Pointing,
)
"""The kinds of record that a case's summary is made of."""


class Gathering:
    """Numbers of finished runs; the summaries of one method at one number of shots are in memory at a time.

    Args:
        store: holds what the runs' keys name.
        request: resamples and seed.
        runs: of each method.
        failed: identities that are left out.
        watch: told what is done.
    """

    def __init__(
        self,
        store: ResultStore,
        request: EvaluationRequest,
        runs: Mapping[Method, Sequence[DrawRun]],
        failed: Set[str],
        watch: Watch,
    ) -> None:
        self._store = store
        self._request = request
        self._runs = runs
        self._failed = failed
        self._watch = watch

    def method(self, method: Method, identity: ModelIdentity) -> MethodResult:
        """All numbers of one method."""
        shots = sorted(self._request.shots)
        results = []
        for number, count in enumerate(shots):
            self._watch(f"{method}: metrics", number, len(shots))
            chosen = self._of(method, count)
            thresholds = [run.thresholds for run in chosen]
            summaries = [self._summaries(run) for run in chosen]
            results.append(shot_result(count, summaries, thresholds, self._request.resamples, self._request.seed))
        told = dict.fromkeys(run.description for run in self._runs[method] if run.description)
        return MethodResult(method, identity.name, identity.weights_sha256, tuple(results), " / ".join(told))

    def comparisons(self) -> tuple[Comparison, ...]:
        """Tests between the first method and each other one, at the largest number of shots."""
        first, *others = self._request.methods
        most = max(self._request.shots)
        if not others:
            return ()
        ours = [self._summaries(run) for run in self._of(first, most)]
        tests = []
        for number, other in enumerate(others):
            self._watch(f"{first} against {other}", number, len(others))
            theirs = [self._summaries(run) for run in self._of(other, most)]
            cuts = [[run.thresholds for run in self._of(method, most)] for method in (first, other)]
            tests += [comparison_of(first, other, most, test) for test in compare_methods(ours, theirs, *cuts)]
        return tuple(tests)

    def examples(self, first: MethodResult) -> tuple[ReportExample, ...]:
        """What the report shows: images chosen by rank in the first draw of the first method's most shots."""
        draw = first.shots[-1].draws[0]
        run = self._of(self._request.methods[0], first.shots[-1].shots)[0]
        cut = draw.thresholds.image
        scores = {score.identity: score for score in draw.scores}
        shown = []
        for chosen in choose_examples(draw.scores):
            score = scores[chosen.identity]
            example = self._record(run.example_keys[chosen.identity], Example)
            shown.append(
                ReportExample(
                    identity=chosen.identity,
                    abnormal=score.abnormal,
                    position=chosen.position,
                    image=example.picture.astype(np.float32) / 255,
                    anomaly_map=example.anomaly_map,
                    lesion=example.lesion,
                    true_boxes=example.true_boxes,
                    found=example.found,
                    image_score=score.score,
                    called_abnormal=None if np.isnan(cut) else score.score >= cut,
                    pixel_threshold=draw.thresholds.pixel,
                )
            )
        return tuple(shown)

    def _of(self, method: Method, shots: int) -> list[DrawRun]:
        return sorted((run for run in self._runs[method] if run.shots == shots), key=lambda run: run.draw)

    def _summaries(self, run: DrawRun) -> list[CaseSummary]:
        return [self._record(key, CaseSummary) for identity, key in run.keys.items() if identity not in self._failed]

    def _record(self, key: str, kind: type[R]) -> R:
        record = self._store.get(key)
        if not isinstance(record, kind):
            raise OutputError(
                f"A finished result in {self._store.path} cannot be read any more.", "Give the same command again."
            )
        return record
