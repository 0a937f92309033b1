"""What methods said of studies, on the disk and in memory."""

import json
import logging
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalabel.errors import ConfigError
from anomalabel.finding import Finding, FindingsReport, Heatmap, ModelIdentity, PromptTexts, Threshold
from monailabel_app.scoring.store import ScoreStore, StudyScore

NOON = datetime(2024, 5, 6, 12, tzinfo=timezone.utc)


def score(image_score: float = 1.5, **others: Any) -> StudyScore:
    values = {"relative": None, "uncertainty": None, "findings": 2, "model": "m@0", "utc": NOON, **others}
    return StudyScore(image_score=image_score, **values)


def finding(uncertainty: float | None) -> Finding:
    corner, centre = (1, 2, 3), (1.0, 2.0, 3.0)
    axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    return Finding(
        id="f",
        label="anomaly",
        score=3.0,
        mean_score=2.0,
        uncertainty=uncertainty,
        volume_mm3=1.0,
        peak_index=corner,
        index_min=corner,
        index_max=corner,
        center_ras=centre,
        center_lps=centre,
        size_mm=centre,
        axes_ras=axes,
    )


def report(limit: float | None, *uncertainties: float | None, image_score: float = 3.0) -> FindingsReport:
    """A report with a finding for each uncertainty; calibrated where it has a limit."""
    return FindingsReport(
        image="head",
        method="few_shot",
        model=ModelIdentity(name="brain_mri", weights_sha256="0123456789abcdef" * 4),
        config="brain_mri",
        prompts=PromptTexts(positive=(), negative=()),
        image_score=image_score,
        calibrated=limit is not None,
        threshold=Threshold(value=1.0, rule="stand-in"),
        image_threshold=None if limit is None else Threshold(value=limit, rule="stand-in"),
        prompt_specificity=None,
        nonfinite_voxels=0,
        spacing_known=True,
        heatmap=Heatmap(grid=(5, 6, 7), min=0.0, max=1.0),
        findings=tuple(finding(uncertainty) for uncertainty in uncertainties),
    )


@pytest.fixture
def store(tmp_path: Path) -> ScoreStore:
    return ScoreStore(tmp_path / "own" / "scores")


def test_a_report_becomes_a_score() -> None:
    before = datetime.now(timezone.utc)
    made = StudyScore.of(report(2.0, 0.1, None, 0.4))
    assert (made.image_score, made.relative, made.uncertainty, made.findings) == (3.0, 1.5, 0.25, 3)
    assert made.model == "brain_mri@0123456789ab"
    assert before <= made.utc <= datetime.now(timezone.utc)


@pytest.mark.parametrize("limit", [None, 0.0, -2.0])
def test_without_a_threshold_above_zero_there_is_no_relative_score(limit: float | None) -> None:
    assert StudyScore.of(report(limit)).relative is None


def test_without_findings_or_uncertainty_there_is_no_mean() -> None:
    assert StudyScore.of(report(None)).uncertainty is None
    assert StudyScore.of(report(None, None, None)).uncertainty is None


def test_the_last_score_of_each_task_is_kept_and_found_by_the_next_server(store: ScoreStore, tmp_path: Path) -> None:
    assert store.scores("head") == {}
    assert store.note("head", "clap_attention", score(1.0))
    assert store.note("head", "few_shot_localization", score(2.0, relative=0.5))
    assert store.note("head", "clap_attention", score(3.0))
    expected = {"clap_attention": score(3.0), "few_shot_localization": score(2.0, relative=0.5)}
    assert store.scores("head") == expected == ScoreStore(tmp_path / "own" / "scores").scores("head")
    assert store.scores("other") == {}
    assert [file.name for file in (tmp_path / "own" / "scores").iterdir()] == ["head.json"]


def test_what_a_caller_does_to_the_scores_stays_with_it(store: ScoreStore) -> None:
    store.note("head", "clap_attention", score())
    store.scores("head").clear()
    assert list(store.scores("head")) == ["clap_attention"]


@given(
    content=st.one_of(st.binary(max_size=200), st.sampled_from([b"[]", b'{"t": 1}', b'{"t": {"image_score": "x"}}']))
)
def test_any_damaged_file_counts_as_absent_and_is_replaced(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("scores")
    (folder / "head.json").write_bytes(content)
    store = ScoreStore(folder)
    assert store.scores("head") == {}
    assert store.note("head", "clap_attention", score())
    assert ScoreStore(folder).scores("head") == {"clap_attention": score()}


def test_a_damaged_file_is_told_once_and_named_without_its_folder(
    store: ScoreStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.note("head", "clap_attention", score())
    (tmp_path / "own" / "scores" / "head.json").write_text("{")
    for _ in range(3):
        assert store.scores("head") == {}
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("scores/head.json holds no scores")


def test_a_change_by_somebody_else_is_seen(store: ScoreStore, tmp_path: Path) -> None:
    store.note("head", "clap_attention", score(1.0))
    assert store.scores("head")["clap_attention"].image_score == 1.0
    ScoreStore(tmp_path / "own" / "scores").note("head", "clap_attention", score(9.0))
    assert store.scores("head")["clap_attention"].image_score == 9.0
    (tmp_path / "own" / "scores" / "head.json").unlink()
    assert store.scores("head") == {}


def test_a_folder_that_cannot_be_written_or_read_breaks_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "scores").write_text("a file where the folder should be")
    store = ScoreStore(tmp_path / "scores")
    with caplog.at_level(logging.WARNING):
        assert [store.note("head", "clap_attention", score()) for _ in range(3)] == [False] * 3
    assert store.scores("head") == {}
    assert ["cannot be written" in record.getMessage() for record in caplog.records] == [True]
    (tmp_path / "scores").unlink()
    assert store.note("head", "clap_attention", score())
    (tmp_path / "scores" / "other.json").mkdir()
    assert store.scores("other") == {}


@pytest.mark.parametrize("name", ["../head", "", "a/b", ".hidden"])
def test_names_that_leave_the_folder_are_refused(store: ScoreStore, name: str) -> None:
    with pytest.raises(ConfigError):
        store.scores(name)
    with pytest.raises(ConfigError):
        store.note(name, "clap_attention", score())


def test_two_thousand_studies_are_listed_in_a_fraction_of_a_second_once_read(tmp_path: Path) -> None:
    text = json.dumps({"clap_attention": score().model_dump(mode="json")})
    names = [f"study_{number}" for number in range(2000)]
    for name in names:
        (tmp_path / f"{name}.json").write_text(text)
    store = ScoreStore(tmp_path)
    assert all(store.scores(name) == {"clap_attention": score()} for name in names)
    begin = time.perf_counter()
    assert sum(len(store.scores(name)) for name in names) == 2000
    assert time.perf_counter() - begin < 0.5
