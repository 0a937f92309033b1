"""What a model does with slices: mosaics, errors of each kind, maps and scores, with networks that answer as told."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch.nn import functional

from anomalabel.model_folder.tensor_file import hash_of_tensors
from anomalabel.reconstruction.gradient_similarity import msgms_map
from anomalabel.reconstruction.healthy_level import HealthyLevel
from anomalabel.reconstruction.model import ReconstructionModel, kinds_of
from anomalabel.reconstruction.mosaic import hide
from anomalabel.reconstruction.network import build_unet

LEVEL = HealthyLevel(torch.zeros(8, 8), torch.ones(8, 8))
BOTH = {"healthy_level": True, "errors": {"msgms": 3.0, "features": 1.0, "cell": 8}}


def block_means(values: torch.Tensor, size: int) -> torch.Tensor:
    """(N, h, w) to (N, h / size, w / size), square by square."""
    count, height, width = values.shape
    means = torch.empty(count, height // size, width // size)
    for row in range(height // size):
        for column in range(width // size):
            square = values[:, row * size : (row + 1) * size, column * size : (column + 1) * size]
            means[:, row, column] = square.double().mean((1, 2)).float()
    return means


def test_the_network_sees_the_suspected_region_under_a_mosaic(settings, answering, batch):
    network = answering(lambda images: images * 0 + 0.25)
    restored = ReconstructionModel(settings(), network, {}).restore(batch)
    (shown,) = network.shown
    for number in range(2):
        region = batch.hidden[number]
        assert 0 < int(region.sum()) < int(batch.inside[number].sum())
        assert torch.equal(shown[number, 0][~region], batch.images[number, 0][~region])
        for row in range(0, 64, 16):
            for column in range(0, 64, 16):
                square = (slice(row, row + 16), slice(column, column + 16))
                hidden = shown[number, 0][square][region[square]]
                mean = float(batch.images[number, 0][square].mean())
                assert torch.allclose(hidden, torch.full_like(hidden, mean), atol=1e-6)
    assert torch.equal(restored.images, torch.full_like(batch.images, 0.25))


def test_restorations_stay_within_the_images_range(settings, answering, batch):
    network = answering(lambda images: torch.stack([images[0] * 0 + 1.7, images[1] * 0 - 0.3]))
    images = ReconstructionModel(settings(), network, {}).restore(batch).images
    assert (images[0].unique().tolist(), images[1].unique().tolist()) == ([1.0], [0.0])
    assert images.dtype == torch.float32


def test_edge_errors_are_means_over_cells(settings, answering, batch):
    network = answering(lambda images: images.flip(-1))
    model = ReconstructionModel(settings(similarity={"scales": 3}), network, {})
    restored = model.restore(batch)
    expected = msgms_map(batch.images, restored.images, model.settings.similarity)[:, 0]
    assert set(restored.errors) == {"msgms"}
    torch.testing.assert_close(restored.errors["msgms"], block_means(expected, 8), atol=1e-5, rtol=0)
    assert float(restored.errors["msgms"].min()) > 0


def test_what_is_restored_exactly_has_no_error(settings, batch, answering):
    known = batch.images.clone()
    errors = ReconstructionModel(settings(), answering(lambda images: known), {}).restore(batch).errors
    assert float(errors["msgms"].max()) < 1e-6


def test_of_several_mosaics_restorations_and_errors_are_averaged(settings, answering, batch):
    network = answering(lambda images: images)
    model = ReconstructionModel(settings(mosaic={"blocks": (8, 32)}), network, {})
    both = model.restore(batch)
    alone = [replace(model, settings=settings(mosaic={"blocks": (block,)})).restore(batch) for block in (8, 32)]
    assert torch.equal(network.shown[0], hide(batch.images, batch.hidden, 8))
    assert torch.equal(network.shown[1], hide(batch.images, batch.hidden, 32))
    torch.testing.assert_close(both.images, (alone[0].images + alone[1].images) / 2)
    for kind, values in both.errors.items():
        torch.testing.assert_close(values, (alone[0].errors[kind] + alone[1].errors[kind]) / 2)
        assert not torch.equal(alone[0].errors[kind], alone[1].errors[kind])


def test_without_saliency_nothing_is_hidden(settings, answering, batch):
    network = answering(lambda images: images)
    chosen = settings(saliency="none", mosaic={"blocks": (8, 16, 32)})
    ReconstructionModel(chosen, network, {}).restore(batch)
    assert len(network.shown) == 1
    assert torch.equal(network.shown[0], batch.images)


def patch_means(images: torch.Tensor) -> torch.Tensor:
    """Two features of 4 x 4 patches: mean, and mean of squares."""
    return functional.avg_pool2d(torch.cat([images, images**2], dim=1), 16)


def test_features_of_image_and_restoration_are_compared(settings, answering, batch):
    network = answering(lambda images: images.flip(-2) ** 2)
    model = ReconstructionModel(settings(**BOTH), network, {"msgms": LEVEL, "features": LEVEL}, patch_means)
    restored = model.restore(batch)
    assert set(restored.errors) == {"msgms", "features"}
    here, there = (patch_means(images) for images in (batch.images, restored.images))
    by_hand = torch.empty(2, 1, 4, 4)
    for number, row, column in product(range(2), range(4), range(4)):
        one, other = here[number, :, row, column], there[number, :, row, column]
        by_hand[number, 0, row, column] = 1 - one @ other / (one.norm() * other.norm())
    on_cells = functional.interpolate(by_hand, size=(8, 8), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(restored.errors["features"], on_cells, atol=1e-5, rtol=0)
    assert float(by_hand.max()) > 1e-3


def test_features_alone_cost_no_msgms(settings, answering, batch, monkeypatch):
    from anomalabel.reconstruction import model as model_file

    monkeypatch.setattr(model_file, "msgms_map", lambda *_: pytest.fail("MSGMS was computed"))
    chosen = settings(errors={"msgms": 0.0, "features": 1.0, "cell": 8})
    model = ReconstructionModel(chosen, answering(lambda images: images), {}, patch_means)
    errors = model.restore(batch).errors
    assert set(errors) == {"features"}
    assert torch.equal(model.map_of(errors), errors["features"])


def test_features_need_an_encoder(settings, answering, batch):
    model = ReconstructionModel(settings(**BOTH), answering(lambda images: images), {"msgms": LEVEL, "features": LEVEL})
    with pytest.raises(ValueError, match="no encoder"):
        model.restore(batch)


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ({}, ()),
        ({"healthy_level": True}, ("msgms",)),
        (BOTH, ("msgms", "features")),
        ({"healthy_level": True, "errors": {"msgms": 0.0, "features": 2.0, "cell": 8}}, ("features",)),
    ],
)
def test_kinds_with_a_healthy_level(settings, values, kinds):
    assert kinds_of(settings(**values)) == kinds


def test_kinds_are_weighted_in_deviations_of_healthy_errors(settings, answering):
    levels = {
        "msgms": HealthyLevel(torch.full((8, 8), 1.0), torch.full((8, 8), 0.5)),
        "features": HealthyLevel(torch.full((8, 8), 0.2), torch.full((8, 8), 0.1)),
    }
    model = ReconstructionModel(settings(**BOTH), answering(lambda images: images), levels, patch_means)
    errors = {"msgms": torch.full((1, 8, 8), 3.0), "features": torch.full((1, 8, 8), 0.1)}
    # 3/4 of (3 - 1) / 0.5 and 1/4 of (0.1 - 0.2) / 0.1.
    torch.testing.assert_close(model.map_of(errors), torch.full((1, 8, 8), 0.75 * 4 - 0.25))


def test_without_healthy_level_the_map_is_the_error(settings, answering):
    model = ReconstructionModel(settings(), answering(lambda images: images), {})
    errors = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.map_of({"msgms": errors}), errors)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"score": "max"}, [63.0, 9.0]),
        # The highest 2 of 64, and 1 of 3: a tenth of them is less than one.
        ({"score": "top", "score_share": 2 / 64}, [62.5, 9.0]),
        ({"score": "top", "score_share": 0.1}, [60.5, 9.0]),
        # Two thirds of three.
        ({"score": "top", "score_share": 0.6}, [sum(range(26, 64)) / 38, 8.0]),
        ({"score": "top", "score_share": 1.0}, [31.5, 19 / 3]),
    ],
)
def test_scores_by_hand(settings, answering, values, expected):
    maps = torch.full((3, 8, 8), 100.0)
    maps[0] = torch.arange(64).view(8, 8)
    maps[1, 4, 4:7] = torch.tensor([9.0, 3.0, 7.0])
    inside = torch.zeros(3, 8, 8, dtype=torch.bool)
    inside[0] = True
    inside[1, 4, 4:7] = True
    model = ReconstructionModel(settings(**values), answering(lambda images: images), {})
    assert model.slice_scores(maps, inside) == pytest.approx([*expected, float("-inf")])


def test_the_hash_is_that_of_the_networks_weights(settings):
    torch.manual_seed(0)
    network = build_unet((4,) * 6)
    model = ReconstructionModel(settings(), network, {})
    before = model.weights_sha256
    assert before == hash_of_tensors(network.state_dict())
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] += 1
    assert model.weights_sha256 != before
