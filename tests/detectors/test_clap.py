"""The CLAP detector against the same steps written out, on a small random model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from scipy.stats import spearmanr

from anomalabel.attention import information_bottleneck
from anomalabel.attention.information_bottleneck import attention_maps, draw_noise
from anomalabel.attention.specificity import CONTROL_TEXTS
from anomalabel.config import AnatomyConfig, AttentionSettings, ForegroundSettings, PreprocessingSettings, load_config
from anomalabel.detectors import ClapDetector, Detection, evenly_spread
from anomalabel.errors import Cancelled, ModelError, PromptError
from anomalabel.finding import PromptTexts
from anomalabel.preprocessing.prepare import PreparedVolume, prepare_volume
from anomalabel.preprocessing.slices import extract_slice, slice_positions
from anomalabel.volume import Volume

SIDE = 32
ATTENTION = AttentionSettings(layer=5, beta=0.5, batch_size=2)
PROMPTS = PromptTexts(positive=("glioma", "tumor of the brain"), negative=("normal healthy brain",))
WHOLE = PreprocessingSettings(foreground=ForegroundSettings(enabled=False))


def config(attention=ATTENTION, preprocessing=WHOLE) -> AnatomyConfig:
    return load_config("brain_mri").model_copy(update={"attention": attention, "preprocessing": preprocessing})


def blobs(shape, seed=0) -> np.ndarray:
    """Smooth random slices, (Z, Y, X)."""
    coarse = torch.rand(1, 1, *(max(length // 6, 1) for length in shape), generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(coarse, size=shape, mode="trilinear")[0, 0].numpy()


def detect(
    model, volume: Volume, settings=None, method="clap", seed=0, planes="acquisition", progress=None, prompts=PROMPTS
):
    settings = settings or config()
    prepared = prepare_volume(volume, settings.preprocessing)
    positions = slice_positions(volume, planes, prepared.seen, settings.preprocessing.foreground.minimum_slice_fraction)
    detector = ClapDetector(model, prompts, settings, method, seed)
    return detector.detect(prepared, volume.affine_ras, positions, progress or (lambda done, total: None)), prepared


def raw_attention(model, images: np.ndarray, texts: torch.Tensor, seed=0) -> torch.Tensor:
    """(texts, N, 4, 4) of slices that fill the model's input exactly."""
    noise = draw_noise(ATTENTION, 17, 32, seed)
    return attention_maps(model, torch.from_numpy(images), texts, ATTENTION, noise)


def side_vectors(model, prompts=PROMPTS) -> torch.Tensor:
    sides = [model.encode_texts(texts).mean(0) for texts in (prompts.positive, prompts.negative)]
    return functional.normalize(torch.stack(sides), dim=-1)


def scaled(maps: torch.Tensor) -> torch.Tensor:
    return (maps - maps.min()) / (maps.max() - maps.min())


def enlarged(maps: torch.Tensor) -> np.ndarray:
    return functional.interpolate(maps[:, None], size=(SIDE, SIDE), mode="bilinear", align_corners=False)[:, 0].numpy()


@pytest.fixture(scope="module")
def stack() -> Volume:
    """Five slices as large as the model's input, without air."""
    return Volume(blobs((5, SIDE, SIDE)), np.diag([-1.0, -1.0, 3.0, 1.0]), source="stack")


def test_clap_is_scaled_attention_for_disease_minus_scaled_attention_for_health(tiny_clip, stack):
    detection, prepared = detect(tiny_clip, stack)
    positive, negative = raw_attention(tiny_clip, prepared.scaled, side_vectors(tiny_clip))
    np.testing.assert_allclose(detection.anomaly_map, enlarged(scaled(positive) - scaled(negative)), atol=1e-4)


def test_plp_is_scaled_attention_for_disease_alone(tiny_clip, stack):
    detection, prepared = detect(tiny_clip, stack, method="plp")
    (positive,) = raw_attention(tiny_clip, prepared.scaled, side_vectors(tiny_clip)[:1])
    np.testing.assert_allclose(detection.anomaly_map, enlarged(scaled(positive)), atol=1e-4)


def test_a_volume_is_scaled_as_a_whole(tiny_clip, stack):
    detection, prepared = detect(tiny_clip, stack, method="plp")
    (positive,) = raw_attention(tiny_clip, prepared.scaled, side_vectors(tiny_clip)[:1])
    peaks = detection.anomaly_map.reshape(5, -1).max(axis=1)
    highest = int(positive.flatten(1).max(1).values.argmax())
    assert int(peaks.argmax()) == highest
    assert sorted(peaks)[-2] < 1 - 1e-3


def test_all_three_planes_are_averaged(tiny_clip):
    volume = Volume(blobs((SIDE,) * 3), np.diag([-1.0, -1.0, 1.0, 1.0]), source="cube")
    detection, prepared = detect(tiny_clip, volume, planes="all")
    positions = slice_positions(volume, "all", prepared.seen, 0)
    images = np.stack([extract_slice(prepared.scaled, volume.affine_ras, position) for position in positions])
    positive, negative = raw_attention(tiny_clip, images, side_vectors(tiny_clip))
    expected = np.zeros((3, *volume.shape), dtype=np.float32)
    for position, image in zip(positions, enlarged(scaled(positive) - scaled(negative)), strict=True):
        extract_slice(expected[position.axis], volume.affine_ras, position)[...] = image
    assert len(positions) == 3 * SIDE
    np.testing.assert_allclose(detection.anomaly_map, expected.mean(axis=0), atol=1e-4)


def test_image_score_is_the_largest_slices_probability_of_disease(tiny_clip, stack):
    detection, prepared = detect(tiny_clip, stack)
    with torch.inference_mode():
        pixels = tiny_clip.normalise(torch.from_numpy(prepared.scaled))
        vectors = functional.normalize(tiny_clip._model.visual(pixels), dim=-1)
        logits = tiny_clip.logit_scale * vectors @ side_vectors(tiny_clip).T
    assert detection.image_score == pytest.approx(float(logits.softmax(-1)[:, 0].max()), abs=1e-5)


def test_prompt_specificity_is_that_of_four_evenly_spread_slices(tiny_clip, stack):
    detection, prepared = detect(tiny_clip, stack)
    chosen = prepared.scaled[[0, 1, 3, 4]]
    (positive,) = raw_attention(tiny_clip, chosen, side_vectors(tiny_clip)[:1])
    controls = raw_attention(tiny_clip, chosen, tiny_clip.encode_texts(CONTROL_TEXTS))
    values = [
        1 - spearmanr(mine.flatten(), theirs.flatten()).statistic
        for control in controls
        for mine, theirs in zip(positive, control, strict=True)
    ]
    assert detection.prompt_specificity == pytest.approx(np.mean(values), abs=0.02)


def test_the_map_of_a_control_text_is_less_specific_than_another(tiny_clip, stack):
    nonsense = PromptTexts(positive=(CONTROL_TEXTS[1],), negative=PROMPTS.negative)
    unspecific, _ = detect(tiny_clip, stack, prompts=nonsense)
    specific, _ = detect(tiny_clip, stack)
    assert unspecific.prompt_specificity < specific.prompt_specificity


@pytest.fixture(scope="module")
def oblique() -> Volume:
    """A noisy ellipsoid in air on a turned, flipped grid of unequal spacings; one voxel holds no number."""
    z, y, x = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 50), np.linspace(-1, 1, 40), indexing="ij")
    body = (z / 0.8) ** 2 + (y / 0.7) ** 2 + (x / 0.6) ** 2 < 1
    array = body * (300 + 20 * np.random.default_rng(0).standard_normal(body.shape))
    array[4, 25, 20] = np.nan
    turn = np.deg2rad(25)
    affine = np.eye(4)
    affine[:3, :3] = [[-3 * np.cos(turn), 0, 5 * np.sin(turn)], [0, 2.5, 0], [3 * np.sin(turn), 0, 5 * np.cos(turn)]]
    affine[:3, 3] = (30, -70, 12)
    return Volume(array.astype(np.float32), affine, modality="MR", source="oblique")


@pytest.mark.parametrize("planes", ["acquisition", "all"])
@pytest.mark.parametrize(("method", "lowest"), [("clap", -1), ("plp", 0)])
def test_a_map_lies_on_the_source_grid_in_range_and_unseen_in_air(tiny_clip, oblique, planes, method, lowest):
    detection, prepared = detect(
        tiny_clip, oblique, config(preprocessing=PreprocessingSettings()), method, planes=planes
    )
    assert detection.anomaly_map.shape == oblique.shape
    assert detection.anomaly_map.dtype == np.float32
    seen = np.isfinite(detection.anomaly_map)
    assert not seen[~prepared.seen].any()
    assert not seen[4, 25, 20]
    assert not seen[0].any()
    assert seen[prepared.seen].mean() > 0.98
    assert lowest <= np.nanmin(detection.anomaly_map) < np.nanmax(detection.anomaly_map) <= 1
    assert 0 < detection.image_score < 1


def test_slices_that_were_left_out_are_unseen(tiny_clip, stack):
    prepared = prepare_volume(stack, WHOLE)
    positions = slice_positions(stack, "acquisition", prepared.seen, 0)[1:3]
    detector = ClapDetector(tiny_clip, PROMPTS, config(), "clap", 0)
    detection = detector.detect(prepared, stack.affine_ras, positions, lambda done, total: None)
    np.testing.assert_array_equal(
        np.isfinite(detection.anomaly_map).all(axis=(1, 2)), [False, True, True, False, False]
    )


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_batch_size_changes_nothing(tiny_clip, oblique, batch_size):
    plain = PreprocessingSettings()
    one, _ = detect(tiny_clip, oblique, config(preprocessing=plain))
    attention = ATTENTION.model_copy(update={"batch_size": batch_size})
    other, _ = detect(tiny_clip, oblique, config(attention, plain))
    np.testing.assert_allclose(other.anomaly_map, one.anomaly_map, atol=1e-3)
    assert other.prompt_specificity == pytest.approx(one.prompt_specificity, abs=0.02)


def test_the_same_seed_gives_the_same_map_and_another_one_another(tiny_clip, stack):
    first, second, third = (detect(tiny_clip, stack, seed=seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.anomaly_map, second.anomaly_map)
    assert np.abs(first.anomaly_map - third.anomaly_map).max() > 1e-3


@pytest.mark.parametrize(("samples", "antithetic"), [(1, False), (3, False), (2, True)])
def test_any_number_of_noise_samples(tiny_clip, stack, samples, antithetic):
    attention = ATTENTION.model_copy(update={"samples": samples, "antithetic": antithetic})
    detection, _ = detect(tiny_clip, stack, config(attention))
    assert np.isfinite(detection.anomaly_map).all()


def test_progress_counts_slices(tiny_clip, stack):
    told = []
    detect(tiny_clip, stack, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 5), (2, 5), (4, 5), (5, 5)]


def test_progress_can_cancel(tiny_clip, stack):
    def cancel(done: int, total: int) -> None:
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        detect(tiny_clip, stack, progress=cancel)


def test_a_picture_of_one_slice(tiny_clip):
    picture = Volume(blobs((1, 40, 70)), np.diag([-1.0, -1.0, 1.0, 1.0]), source="picture", spatial_dims=2)
    detection, _ = detect(tiny_clip, picture)
    assert isinstance(detection, Detection)
    assert detection.anomaly_map.shape == (1, 40, 70)
    assert np.isfinite(detection.anomaly_map).all()


def test_a_layer_that_the_model_does_not_have(tiny_clip, stack):
    with pytest.raises(ModelError, match=r"layer 10 does not fit a model of 11 blocks.*from 0 to 9"):
        detect(tiny_clip, stack, config(ATTENTION.model_copy(update={"layer": 10})))


def test_a_prompt_that_is_too_long(tiny_clip, stack):
    with pytest.raises(PromptError, match="Shorten it"):
        detect(tiny_clip, stack, prompts=PromptTexts(positive=("brain " * 100,), negative=("normal",)))


def test_attention_that_is_not_finite_is_an_error_not_an_empty_map(tiny_clip, stack, monkeypatch):
    monkeypatch.setattr(tiny_clip, "encode_texts", lambda texts: torch.full((len(texts), 16), float("nan")))
    with pytest.raises(ModelError, match="not finite"):
        detect(tiny_clip, stack)


def test_a_grid_that_does_not_divide_the_input(tiny_clip, stack, monkeypatch):
    monkeypatch.setattr(tiny_clip, "side", 35)
    monkeypatch.setattr(tiny_clip, "normalise", lambda images: images[:, None, :32, :32].expand(-1, 3, -1, -1))
    detection, _ = detect(tiny_clip, stack)
    assert np.isfinite(detection.anomaly_map).all()


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [(1, 4, (0,)), (3, 4, (0, 1, 2)), (5, 4, (0, 1, 3, 4)), (10, 4, (0, 3, 6, 9)), (7, 1, (0,))],
)
def test_evenly_spread_numbers(count, wanted, expected):
    assert evenly_spread(count, wanted) == expected


def test_prepared_volumes_are_left_as_they_are(tiny_clip, stack):
    prepared = prepare_volume(stack, WHOLE)
    before = PreparedVolume(prepared.scaled.copy(), prepared.seen.copy())
    detector = ClapDetector(tiny_clip, PROMPTS, config(), "clap", 0)
    positions = slice_positions(stack, "acquisition", prepared.seen, 0)
    detector.detect(prepared, stack.affine_ras, positions, lambda done, total: None)
    np.testing.assert_array_equal(prepared.scaled, before.scaled)
    np.testing.assert_array_equal(prepared.seen, before.seen)


def test_many_noise_samples_take_several_passes_to_the_same_map(tiny_clip, stack, monkeypatch):
    settings = config(ATTENTION.model_copy(update={"samples": 14}))
    together, _ = detect(tiny_clip, stack, settings)
    seen = []
    embed_from = tiny_clip.tower.embed_from

    def watched(tokens: torch.Tensor, layer: int) -> torch.Tensor:
        seen.append(len(tokens))
        return embed_from(tokens, layer)

    monkeypatch.setattr(tiny_clip.tower, "embed_from", watched)
    monkeypatch.setattr(information_bottleneck, "IMAGES_A_PASS", 12)
    parted, _ = detect(tiny_clip, stack, settings)
    assert max(seen) == 12
    np.testing.assert_allclose(parted.anomaly_map, together.anomaly_map, atol=1e-3)
