"""The embedded model's image tower against its parts written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from anomalabel.backbones.hybrid import HybridSettings, HybridTower
from anomalabel.backbones.towers import check_layer, image_tower, normaliser
from anomalabel.errors import ModelError

SETTINGS = HybridSettings(64, "resnet10t", depth=3, heads=4, embedding=16, feature_channels=(5, 7))


@pytest.fixture(scope="module")
def tower() -> HybridTower:
    torch.manual_seed(0)
    module = HybridTower(SETTINGS).eval().requires_grad_(False)
    for parameter in module.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return module


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(1))


def test_cut_at_every_block_the_two_halves_make_the_whole(tower: HybridTower, images: Tensor) -> None:
    pixels = tower.normalise(images)
    expected = tower(pixels)
    assert expected.shape == (2, 16)
    for layer in range(tower.depth):
        halves = tower.embed_from(tower.tokens_after(pixels, layer), layer)
        torch.testing.assert_close(halves, expected, rtol=1e-4, atol=1e-5)


def test_tokens_after_a_block_are_the_blocks_in_turn(tower: HybridTower, images: Tensor) -> None:
    pixels = tower.normalise(images)
    tokens = tower.embed(pixels)
    assert tokens.shape == (2, 16, tower.width)
    for layer, block in enumerate(tower.blocks):
        tokens = block(tokens)
        torch.testing.assert_close(tower.tokens_after(pixels, layer), tokens, rtol=1e-4, atol=1e-4)


def test_the_image_embedding_is_a_weighted_mean_of_patch_embeddings(tower: HybridTower, images: Tensor) -> None:
    tokens = tower.tokens_after(tower.normalise(images), tower.depth - 1)
    patches = tower.project_patches(tokens)
    assert patches.shape == (2, 16, 16)
    normed = nn.functional.layer_norm(tokens, (tower.width,), tower.norm.weight, tower.norm.bias)
    torch.testing.assert_close(patches, normed @ tower.projection.weight.T)
    weights = (normed @ tower.pooling.weight[0] + tower.pooling.bias).exp()
    weights = weights / weights.sum(1, keepdim=True)
    assert weights.std() > 0.001, "not the plain mean"
    image = torch.einsum("np,npd->nd", weights, patches)
    torch.testing.assert_close(tower.embed_from(tokens, tower.depth - 1), image, rtol=1e-4, atol=1e-5)


def test_tokens_stand_row_by_row_each_with_its_own_position(tower: HybridTower) -> None:
    coarse = torch.randn(1, tower.width, 4, 4)
    tokens = tower.tokens(coarse)
    for row in range(4):
        for column in range(4):
            number = 4 * row + column
            expected = tower.norm_tokens(coarse[0, :, row, column]) + tower.position_scale * tower.position[number]
            torch.testing.assert_close(tokens[0, number], expected, rtol=1e-4, atol=1e-5)
    assert torch.cdist(tower.position, tower.position).fill_diagonal_(9).min() > 0.1


def test_patch_features_have_the_teachers_shapes(tower: HybridTower, images: Tensor) -> None:
    maps = tower.feature_maps(tower.normalise(images))
    fine, coarse = tower.patch_features(maps)
    assert fine.shape == (2, 5, 8, 8)
    assert coarse.shape == (2, 7, 4, 4)
    torch.testing.assert_close(
        fine[0, :, 3, 4], tower.fine_head.weight[:, :, 0, 0] @ maps[0][0, :, 3, 4] + tower.fine_head.bias
    )


def test_convolutions_take_pictures_of_other_sizes(tower: HybridTower) -> None:
    fine, coarse = tower.feature_maps(tower.normalise(torch.rand(1, 96, 96)))
    assert fine.shape[2:] == (12, 12)
    assert coarse.shape[2:] == (6, 6)


def test_a_patch_feature_sees_its_own_place(tower: HybridTower) -> None:
    """A change in one corner leaves the features of the other almost as they were."""
    picture = torch.rand(1, 256, 256, generator=torch.Generator().manual_seed(2))
    changed = picture.clone()
    changed[:, :24, :24] = 1 - changed[:, :24, :24]
    before, after = (tower.patch_features(tower.feature_maps(tower.normalise(one)))[0] for one in (picture, changed))
    difference = (before - after).abs().amax(1)[0]
    assert difference[:3, :3].max() > 0.05
    assert difference[20:, 20:].max() < 1e-4


def test_grey_is_scaled_as_the_detectors_do(tower: HybridTower, images: Tensor) -> None:
    mean, std = normaliser(tower, torch.device("cpu"))
    torch.testing.assert_close(tower.normalise(images), (images[:, None].expand(-1, 3, -1, -1) - mean) / std)
    assert tower.normalise(torch.full((1, 64, 64), 0.58))[0, 2, 5, 5].item() == pytest.approx(1.0)


def test_it_is_a_tower_that_can_be_cut(tower: HybridTower) -> None:
    assert image_tower(tower) is tower
    assert (tower.grid, tower.depth, tower.width, tower.prefix_tokens) == ((4, 4), 3, 256, 0)
    check_layer(tower, 1)
    with pytest.raises(ModelError, match="from 0 to 1"):
        check_layer(tower, 2)


def test_gradients_pass_from_the_embedding_to_the_tokens(tower: HybridTower) -> None:
    tokens = torch.randn(1, 16, tower.width, requires_grad=True)
    tower.embed_from(tokens, 0).sum().backward()
    assert tokens.grad is not None
    assert tokens.grad.abs().amax(-1).min() > 0, "every patch has a say"


@pytest.mark.parametrize("trunk", ["vit_tiny_patch16_224", "convnext_atto", "swin_tiny_patch4_window7_224"])
def test_trunks_without_maps_at_strides_8_and_16_are_refused(trunk: str) -> None:
    with pytest.raises(ValueError, match=f"{trunk} has no feature maps at strides 8 and 16"):
        HybridTower(HybridSettings(trunk=trunk, depth=1))


def test_sizes_that_the_grid_does_not_fill_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        HybridTower(HybridSettings(image_size=70, trunk="resnet10t", depth=1))


def test_settings_come_back_from_json() -> None:
    assert HybridSettings(**SETTINGS.as_json()) == SETTINGS
