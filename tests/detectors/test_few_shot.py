"""Few-shot localization as a method of the registry: maps, uncertainty, thresholds, on pictures and volumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from anomalabel.backbones.encoders import GivenEncoders
from anomalabel.backbones.text_adapter import TextAdapter, read_text_adapter, write_text_adapter
from anomalabel.config import DetectionRequest
from anomalabel.detectors.base import PreparedImage, no_progress
from anomalabel.detectors.context import BuildContext
from anomalabel.detectors.few_shot import FewShotDetector, shot_of
from anomalabel.detectors.learn_few_shot import learn_few_shot, learned_before
from anomalabel.detectors.registry import build_detector, texts_of
from anomalabel.errors import Cancelled, ConfigError, ImageReadError, ModelError
from anomalabel.finding import ModelIdentity, PromptTexts
from anomalabel.localization.patch_features import FeatureStore
from anomalabel.preprocessing.prepare import PreparedVolume
from anomalabel.preprocessing.slices import SlicePosition

TEXTS = PromptTexts(positive=("glioma tumor",), negative=("healthy brain", "normal gray matter"))
DEPTH = 3


def context_of(bench, tissue, config=None, count=4, **values) -> BuildContext:
    healthy = tuple(tissue(number) for number in range(count))
    return BuildContext(
        config or bench.make(), TEXTS, GivenEncoders(bench.source.model, bench.encoder), healthy, **values
    )


@pytest.fixture(scope="module")
def detector(bench, tissue):
    return build_detector("few_shot", context_of(bench, tissue))


def volume(seeds, planted_slice=None, make=None) -> PreparedImage:
    """A volume of pictures; nothing of its first two columns is body."""
    slices = [make(seed, number == planted_slice).prepared.scaled[0] for number, seed in enumerate(seeds)]
    scaled = np.stack(slices)
    seen = np.ones(scaled.shape, dtype=bool)
    seen[..., :2] = False
    positions = tuple(SlicePosition(0, number, "axial") for number in range(len(seeds)))
    return PreparedImage(PreparedVolume(scaled, seen), np.diag([1.0, 1.0, 3.0, 1.0]), positions)


def detect(detector, image, progress=no_progress):
    return detector.detect(image.prepared, image.affine_ras, image.positions, progress)


def test_a_plant_is_found_with_everything_that_a_report_needs(bench, tissue):
    detector = build_detector("few_shot", context_of(bench, tissue, bench.make(text=False, alignment=False)))
    sick, healthy = detect(detector, tissue(20, planted=True)), detect(detector, tissue(20))
    assert sick.image_score > healthy.image_score
    assert sick.image_score > sick.image_threshold.value
    inside = sick.anomaly_map[0, 18:22, 10:14].mean()
    assert inside > sick.pixel_threshold.value
    assert inside > sick.anomaly_map[0, :8, 20:].mean() + 1
    assert sick.anomaly_map.shape == (1, 32, 32)
    assert sick.uncertainty_map.shape == (1, 32, 32)
    assert 0 <= np.nanmin(sick.uncertainty_map) <= np.nanmax(sick.uncertainty_map) <= 0.5
    assert sick.image_threshold == healthy.image_threshold == detector.image_threshold
    assert sick.pixel_threshold == detector.pixel_threshold
    assert detector.identity.name == "few_shot on tiny"
    assert detector.identity.weights_sha256 == bench.encoder.identity.weights_sha256


def test_asking_again_gives_the_same(detector, tissue):
    first = detect(detector, tissue(20))
    detect(detector, tissue(21))
    again = detect(detector, tissue(20))
    np.testing.assert_array_equal(first.anomaly_map, again.anomaly_map)
    np.testing.assert_array_equal(first.uncertainty_map, again.uncertainty_map)
    assert first.image_score == again.image_score


def test_the_score_is_that_of_the_model(bench, tissue):
    fit = learn_few_shot(context_of(bench, tissue), lambda stage, done, total: None)
    made = detector_of(fit, bench)
    image = tissue(20, planted=True)
    patches = shot_of(image, bench.encoder, bench.make()).patches
    maps = fit.model.anomaly_maps(patches)
    found = detect(made, image)
    assert found.image_score == pytest.approx(fit.model.image_score(maps), rel=1e-5)
    # 8 x 8 pixels a patch, bilinear in between: a corner is its patch.
    assert found.anomaly_map[0, 0, 0] == pytest.approx(maps[0, 0, 0], abs=1e-4)
    assert found.anomaly_map[0, -1, -1] == pytest.approx(maps[0, -1, -1], abs=1e-4)


def detector_of(fit, bench, **values):
    identity = ModelIdentity(name="mine", weights_sha256="7" * 64)
    return FewShotDetector(bench.encoder, fit.model, fit.calibration, bench.make(), identity, **values)


def test_no_passes_give_no_uncertainty(bench, tissue):
    made = build_detector("few_shot", context_of(bench, tissue, bench.make(uncertainty={"passes": 0})))
    assert detect(made, tissue(20)).uncertainty_map is None


def test_warnings_of_the_training_come_with_each_result(bench, tissue):
    foreign = replace(context_of(bench, tissue), prompts=TEXTS.model_copy(update={"positive": ("spleen",)}))
    made = build_detector("few_shot", foreign)
    (warning,) = detect(made, tissue(20)).warnings
    assert "text part is left out" in warning
    assert "spleen" in warning


def test_a_volume_is_learned_and_looked_at_slice_by_slice(bench, tissue):
    healthy = tuple(volume(range(3 * number, 3 * number + 3), make=tissue) for number in range(3))
    made = build_detector("few_shot", replace(context_of(bench, tissue), healthy=healthy))
    told = []
    sick = detect(made, volume((50, 51, 52), 1, tissue), lambda done, total: told.append((done, total)))
    assert sick.anomaly_map.shape == sick.uncertainty_map.shape == (DEPTH, 32, 32)
    assert np.isnan(sick.anomaly_map[..., :2]).all()
    assert np.isfinite(sick.anomaly_map[..., 2:]).all()
    assert int(np.nanargmax(np.nanmax(sick.anomaly_map, axis=(1, 2)))) == 1
    assert told[-1] == (3, 3)
    alone = [detect(made, volume((seed,), make=tissue)).image_score for seed in (50, 52)]
    assert sick.image_score > max(alone)


def test_slices_of_a_large_volume_are_a_spread_sample(bench, tissue):
    image = volume(range(7), make=tissue)
    config = bench.make()
    config = config.model_copy(update={"normal_bank": config.normal_bank.model_copy(update={"slices_a_volume": 3})})
    shot = shot_of(image, bench.encoder, config)
    assert len(shot.framed) == len(shot.patches) == 3
    whole = shot_of(image, bench.encoder, bench.make())
    for number, place in enumerate((0, 3, 6)):
        np.testing.assert_array_equal(shot.framed[number].image, whole.framed[place].image)


def test_batches_change_nothing(bench, tissue):
    fit = learn_few_shot(context_of(bench, tissue, bench.make(uncertainty={"passes": 0})), lambda *told: None)
    image = volume((50, 51, 52), 1, tissue)
    maps = []
    for size in (1, 2, 8):
        config = bench.make()
        config = config.model_copy(update={"normal_bank": config.normal_bank.model_copy(update={"batch_size": size})})
        identity = ModelIdentity(name="mine", weights_sha256="7" * 64)
        maps.append(detect(FewShotDetector(bench.encoder, fit.model, fit.calibration, config, identity), image))
    for other in maps[1:]:
        np.testing.assert_allclose(other.anomaly_map, maps[0].anomaly_map, atol=1e-3)
        assert other.image_score == pytest.approx(maps[0].image_score, abs=1e-3)


def test_a_store_saves_time_and_changes_nothing(bench, tissue):
    store = FeatureStore()
    with_store = build_detector("few_shot", context_of(bench, tissue, features=store))
    without = build_detector("few_shot", context_of(bench, tissue))
    for _ in range(2):
        np.testing.assert_array_equal(
            detect(with_store, tissue(20)).anomaly_map, detect(without, tissue(20)).anomaly_map
        )


def test_nothing_seen_is_refused(detector, tissue):
    image = tissue(0)
    unseen = replace(image, prepared=PreparedVolume(image.prepared.scaled, np.zeros((1, 32, 32), dtype=bool)))
    with pytest.raises(ImageReadError, match="No patch of the image holds body"):
        detect(detector, unseen)


def test_detection_can_be_cancelled(detector, tissue):
    def stop(done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        detect(detector, tissue(0), stop)


def test_healthy_images_are_needed(bench, tissue):
    with pytest.raises(ConfigError, match="learns from healthy images and none was given"):
        build_detector("few_shot", context_of(bench, tissue, count=0))
    with pytest.raises(ConfigError, match="at least 2 healthy images, 1 came"):
        build_detector("few_shot", context_of(bench, tissue, count=1))


def test_without_words_nothing_asks_for_a_text_tower(bench, tissue):
    config = bench.make(text=False, alignment=False)
    context = replace(context_of(bench, tissue, config), encoders=GivenEncoders(patches=bench.encoder))
    assert detect(build_detector("few_shot", context), tissue(20)).image_score > -5
    with pytest.raises(ModelError, match="reads no text"):
        build_detector("few_shot", replace(context, config=bench.make()))


def test_a_language_adapter_is_read_and_used(bench, tissue, tmp_path):
    model = bench.source.model
    adapter = TextAdapter(16, 4, model.identity, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(adapter.up.weight, generator=torch.Generator().manual_seed(1))
    path = tmp_path / "adapter.safetensors"
    write_text_adapter(adapter, path, {})
    config = bench.make(language_adapter={"path": str(path)})

    def texts(config):
        return learn_few_shot(context_of(bench, tissue, config), lambda *told: None).model.texts.healthy

    plain = texts(bench.make())
    assert torch.equal(texts(config), read_text_adapter(path, model.identity).eval()(plain).detach())
    assert not torch.allclose(texts(config), plain, atol=1e-3)
    with pytest.raises(ModelError, match="There is no language adapter"):
        texts(bench.make(language_adapter={"path": str(tmp_path / "none")}))
    foreign = TextAdapter(16, 4, ModelIdentity(name="other", weights_sha256="8" * 64))
    write_text_adapter(foreign, path, {})
    with pytest.raises(ModelError, match="belongs to other"):
        texts(config)


def test_a_teacher_is_loaded_by_its_folder(bench, tissue, knowing_clip_folder):
    values = {"enabled": True, "teacher": str(knowing_clip_folder), "alpha": 0.0}
    fit = learn_few_shot(context_of(bench, tissue, bench.make(distillation=values)), lambda *told: None)
    assert set(fit.history[0][2]) == {"alignment", "distillation"}
    assert fit.held_out[0].material.teacher.shape == (5, 16, 2)
    plain = learn_few_shot(context_of(bench, tissue), lambda *told: None)
    probe = bench.shot(9).patches
    assert not np.allclose(fit.model.raw_maps(probe)["head"], plain.model.raw_maps(probe)["head"], atol=1e-3)
    with pytest.raises(ModelError, match="There is no model 'nowhere'"):
        learn_few_shot(
            context_of(bench, tissue, bench.make(distillation={"enabled": True, "teacher": "nowhere"})),
            lambda *told: None,
        )


def test_the_texts_are_the_templates_or_what_a_request_says(bench):
    config = bench.make()
    texts = texts_of("few_shot", config)
    assert texts.positive[0] == "glioma tumor"
    assert "Signs of glioma" in texts.positive
    assert "Normal brain appearance" in texts.negative
    asked = texts_of("few_shot", config, DetectionRequest(positive=("a cyst",)))
    assert asked.positive == ("a cyst",)
    assert asked.negative == texts.negative
    only = bench.make(standard_templates=False)
    assert texts_of("few_shot", only) == PromptTexts(positive=("glioma tumor",), negative=("healthy brain",))


def test_results_hang_on_the_content_of_the_files_that_a_config_names(bench, knowing_clip_folder, tmp_path):
    files = {name: tmp_path / name for name in ("adapter", "start")}
    for path in files.values():
        path.write_bytes(b"first")
    adapted = {"language_adapter": {"path": str(files["adapter"])}}
    settings = bench.make(**adapted, episodes={"path": str(files["start"])}).few_shot
    taught = bench.make(**adapted, distillation={"enabled": True, "teacher": str(knowing_clip_folder)}).few_shot
    before = learned_before("few_shot", settings)
    assert set(before) == {"language_adapter", "episodes"}
    teacher = learned_before("few_shot", taught)
    assert set(teacher) == {"language_adapter", "teacher"}
    assert teacher["teacher"] == bench.encoder.identity.weights_sha256
    for name, key in (("adapter", "language_adapter"), ("start", "episodes")):
        files[name].write_bytes(b"other")
        assert learned_before("few_shot", settings)[key] != before[key]
    assert learned_before("normal_bank", settings) == {}
    assert learned_before("few_shot", bench.make().few_shot) == {}
    files["start"].unlink()
    with pytest.raises(ModelError, match=r"few_shot.episodes; there is no such file"):
        learned_before("few_shot", settings)
