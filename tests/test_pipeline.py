"""From a file to map and report."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from PIL import Image

from anomalabel.config import AttentionSettings, DetectionRequest, load_config
from anomalabel.errors import Cancelled, ConfigError, ImageReadError, ModelError, PromptError
from anomalabel.io.read import read_volume
from anomalabel.pipeline import DetectionPipeline, DetectionResult, apply_request

KNOWN = {"positive": ("tumor",), "negative": ("normal brain",)}
"""Prompts of words that the small model lists as known."""


def head(shape=(40, 44, 6), seed=0) -> np.ndarray:
    """(X, Y, Z): noisy tissue in air, with a bright spot."""
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    tissue = (x / 0.8) ** 2 + (y / 0.9) ** 2 < 1
    voxels = tissue * (400 + 30 * np.random.default_rng(seed).standard_normal(shape))
    voxels[24:30, 20:28, 2:4] += 300
    return voxels.astype(np.float32)


OBLIQUE = nibabel.affines.from_matvec(
    nibabel.eulerangles.euler2mat(0.3, 0.2, -0.1) @ np.diag([-3.0, 2.5, 5.0]), [60, -50, -20]
)


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scans") / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(head(), OBLIQUE), path)
    return path


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "x-ray.png"
    Image.fromarray(np.clip(head((60, 50, 6))[:, :, 2] / 3, 0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def pipeline() -> DetectionPipeline:
    return DetectionPipeline("cpu", "float32")


@pytest.fixture(scope="module")
def ask(pipeline, tiny_clip_folder):
    def ask(source: Path, progress=None, **request) -> DetectionResult:
        return pipeline.detect(source, DetectionRequest(**{"backbone": str(tiny_clip_folder), **request}), progress)

    return ask


def changed_config(folder: Path, name="brain_mri", **changes) -> str:
    values = json.loads(load_config(name).model_dump_json())
    for part, settings in changes.items():
        values[part].update(settings)
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(values))
    return str(path)


def test_map_and_report_of_an_oblique_volume(ask, scan, tiny_clip):
    result = ask(scan)
    report = result.report
    np.testing.assert_array_equal(result.volume.affine_ras, read_volume(scan).affine_ras)
    np.testing.assert_allclose(result.volume.affine_ras, OBLIQUE, atol=1e-5)
    assert result.anomaly_map.shape == result.volume.shape == (6, 44, 40)
    assert np.isnan(result.anomaly_map[:, 0, 0]).all()
    assert (report.image, report.method, report.config) == ("scan.nii.gz", "clap", "brain_mri")
    assert report.model == tiny_clip.identity
    assert report.prompts.positive == ("Glioma, Astrocytoma, Oligodendroglioma",)
    assert report.prompts.negative == ("Normal, Healthy gray matter",)
    assert report.heatmap.grid == (40, 44, 6)
    assert report.heatmap.min == np.nanmin(result.anomaly_map)
    assert report.heatmap.max == np.nanmax(result.anomaly_map)
    assert not report.calibrated
    assert report.spacing_known
    assert report.nonfinite_voxels == 0


def test_findings_follow_the_region_rule(ask, scan):
    result = ask(scan, minimum_volume_mm3=0)
    values = result.anomaly_map[np.isfinite(result.anomaly_map)].astype(np.float64)
    assert result.report.threshold.value == pytest.approx(values.mean() + 0.674 * values.std())
    assert result.report.threshold.rule == "mean + 0.674 sd of this map"
    volumes = sum(finding.volume_mm3 for finding in result.report.findings)
    assert volumes == pytest.approx((values > result.report.threshold.value).sum() * 3 * 2.5 * 5)
    for finding in result.report.findings:
        i, j, k = finding.peak_index
        assert result.anomaly_map[k, j, i] == pytest.approx(finding.score)


def test_a_request_replaces_what_the_config_says(ask, scan):
    low, high = (ask(scan, threshold_sd=sd, minimum_volume_mm3=0) for sd in (-1.0, 2.0))
    assert low.report.threshold.value < high.report.threshold.value
    assert high.report.threshold.rule == "mean + 2 sd of this map"
    np.testing.assert_array_equal(low.anomaly_map, high.anomaly_map)
    huge = ask(scan, minimum_volume_mm3=1e9).report
    assert (huge.findings, huge.minimum_volume_mm3) == ((), 1e9)
    assert ask(scan, **KNOWN).report.prompts.positive == ("tumor",)
    three = ask(scan, planes="all").anomaly_map
    assert np.nanmax(np.abs(three - low.anomaly_map)) > 1e-3


def test_positive_prompts_alone(ask, scan):
    result = ask(scan, method="plp")
    assert result.report.method == "plp"
    assert np.nanmin(result.anomaly_map) >= 0
    assert np.nanmax(ask(scan).anomaly_map - result.anomaly_map) <= 1e-5


@pytest.mark.parametrize("samples", [1, 3, 4])
def test_any_number_of_samples_may_be_asked_for(ask, scan, samples):
    assert np.isfinite(ask(scan, samples=samples).report.image_score)


def test_an_odd_number_of_samples_is_not_antithetic():
    config = load_config("brain_mri")
    for samples, antithetic in ((1, False), (2, True), (3, False), (10, True)):
        attention = apply_request(config, DetectionRequest(samples=samples)).attention
        assert (attention.samples, attention.antithetic) == (samples, antithetic)
        assert AttentionSettings.model_validate(attention.model_dump()) == attention
    plain = config.model_copy(update={"attention": AttentionSettings(antithetic=False, samples=3)})
    assert not apply_request(plain, DetectionRequest(samples=4)).attention.antithetic


def test_a_request_that_chooses_nothing_changes_nothing():
    for name in ("brain_mri", "chest_xray"):
        assert apply_request(load_config(name), DetectionRequest()) == load_config(name)


def test_equal_runs_are_equal_down_to_the_ids(ask, scan, tiny_clip_folder, tmp_path):
    first = ask(scan)
    assert first.report.findings
    other = DetectionPipeline("cpu", "float32").detect(scan, DetectionRequest(backbone=str(tiny_clip_folder)))
    assert other.report == first.report
    copied = ask(Path(shutil.copy(scan, tmp_path / "copied.nii.gz")))
    assert copied.report.findings == first.report.findings


def test_other_runs_have_other_ids(ask, scan, tmp_path):
    def ids(source=scan, **request):
        return {finding.id for finding in ask(source, **request).report.findings}

    changed = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(head(seed=1), OBLIQUE), changed)
    config = changed_config(tmp_path, attention={"beta": 0.5})
    runs = [ids(), ids(seed=1), ids(method="plp"), ids(changed), ids(config=config), ids(**KNOWN)]
    assert all(runs)
    assert len(set.union(*runs)) == sum(len(run) for run in runs)


def test_a_picture_is_measured_in_square_millimetres(ask, picture):
    result = ask(picture, config="chest_xray", minimum_volume_mm3=0)
    assert result.anomaly_map.shape == (1, 60, 50)
    assert not result.report.spacing_known
    assert any("tells no spacing" in warning for warning in result.report.warnings)
    largest = max(finding.volume_mm3 for finding in result.report.findings)
    kept = ask(picture, config="chest_xray", minimum_volume_mm3=largest).report.findings
    assert [finding.volume_mm3 for finding in kept] == [largest]


def test_a_result_always_says_that_its_threshold_is_relative(ask, scan):
    warnings = ask(scan, **KNOWN).report.warnings
    assert len(warnings) == 1
    assert "relative to this image" in warnings[0]


def test_words_that_the_model_never_saw(ask, scan):
    warnings = ask(scan).report.warnings
    assert "The model tiny never saw these words: astrocytoma, oligodendroglioma." in warnings


def test_a_prompt_that_the_map_does_not_depend_on(ask, scan, tmp_path):
    config = changed_config(tmp_path, attention={"specificity_bound": 2.0})
    result = ask(scan, config=config, **KNOWN)
    assert f"specificity {result.report.prompt_specificity:.2f}, bound 2" in result.report.warnings[1]


def test_voxels_that_hold_no_number(ask, tmp_path):
    voxels = head()
    voxels[20:23, 20, 3], voxels[0, 0, 0] = np.nan, np.inf
    nibabel.save(nibabel.Nifti1Image(voxels, OBLIQUE), tmp_path / "gaps.nii")
    result = ask(tmp_path / "gaps.nii", **KNOWN)
    assert result.report.nonfinite_voxels == 4
    assert "4 voxels hold no number; they were not looked at." in result.report.warnings
    assert np.isnan(result.anomaly_map[3, 20, 20:23]).all()
    assert np.isfinite(result.anomaly_map[3, 21, 20:23]).all()


def test_more_findings_than_are_listed(ask, scan, tmp_path):
    every = ask(scan, minimum_volume_mm3=0, threshold_sd=1.5).report.findings
    assert len(every) > 1
    config = changed_config(tmp_path, findings={"maximum_count": 1})
    report = ask(scan, config=config, minimum_volume_mm3=0, threshold_sd=1.5).report
    assert [finding.score for finding in report.findings] == [every[0].score]
    assert f"Only the 1 highest-scoring of {len(every)} findings are listed." in report.warnings


def test_reports_are_json_of_finite_numbers(ask, scan, picture):
    def refuse(name: str) -> None:
        raise AssertionError(name)

    for result in (ask(scan), ask(picture, config="retinal_oct")):
        assert json.loads(result.report.to_json(), parse_constant=refuse)["schema"] == "anomalabel.findings/1"


def test_progress_counts_the_slices_that_hold_tissue(ask, scan):
    told = []
    ask(scan, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 6), (6, 6)]


def test_progress_can_cancel(ask, scan):
    def cancel(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        ask(scan, progress=cancel)


def test_a_model_is_loaded_once(pipeline, tiny_clip_folder):
    assert pipeline.model(str(tiny_clip_folder)) is pipeline.model(str(tiny_clip_folder))


def test_threads_may_share_a_pipeline(ask, scan):
    seeds = (1, 2, 1, 2)
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda seed: ask(scan, seed=seed), seeds))
    for seed, result in zip(seeds, results, strict=True):
        np.testing.assert_array_equal(result.anomaly_map, ask(scan, seed=seed).anomaly_map)


def test_warming_loads_and_runs_the_model(tiny_clip_folder):
    pipeline = DetectionPipeline("cpu", "float32")
    pipeline.warm(str(tiny_clip_folder))
    assert list(pipeline._models) == [str(tiny_clip_folder)]


def test_a_name_that_is_no_utf8_and_one_with_brackets(ask, scan, tmp_path):
    odd = Path(shutil.copy(scan, tmp_path / "M\udcfcller [1].nii.gz"))
    assert ask(odd).report.image == "M\\udcfcller [1].nii.gz"
    assert json.loads(ask(odd).report.to_json())["image"] == "M\\udcfcller [1].nii.gz"


@pytest.mark.parametrize(
    ("request_values", "error"),
    [
        ({"config": "unheard_of"}, ConfigError),
        ({"backbone": "unheard_of"}, ModelError),
        ({"positive": ("",)}, PromptError),
        ({"negative": ("brain " * 70,)}, PromptError),
    ],
)
def test_requests_that_cannot_be_met(ask, scan, request_values, error):
    with pytest.raises(error):
        ask(scan, **request_values)


def test_a_layer_that_the_model_does_not_have(ask, scan, tmp_path):
    with pytest.raises(ModelError, match="from 0 to 9"):
        ask(scan, config=changed_config(tmp_path, attention={"layer": 11}))


def test_images_that_show_nothing(ask, tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.full((9, 9, 9), 3.0), np.eye(4)), tmp_path / "constant.nii")
    with pytest.raises(ImageReadError, match="constant"):
        ask(tmp_path / "constant.nii")
    with pytest.raises(ImageReadError, match="does not exist"):
        ask(tmp_path / "missing.nii")


def test_a_device_that_is_not_there():
    with pytest.raises(ModelError, match="cuda:99"):
        DetectionPipeline("cuda:99")
