"""Patch encoders of every kind: shapes, values, hashes, and errors without network."""

from __future__ import annotations

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from anomalabel.backbones import hub
from anomalabel.backbones.encoders import GivenEncoders, NamedEncoders
from anomalabel.backbones.hybrid import HybridSettings, HybridTower
from anomalabel.backbones.patch_encoders import (
    HybridPatchEncoder,
    ModulePatchEncoder,
    TimmPatchEncoder,
    TokenPatchEncoder,
    hash_of,
    load_patch_encoder,
    patch_encoder_of,
)
from anomalabel.config import NormalBankSettings
from anomalabel.errors import ModelError
from anomalabel.finding import ModelIdentity
from anomalabel.localization.normal_bank import FeatureScale

SMALL = "mobilenetv3_small_050"


class Means(nn.Module):
    """Block means of two sizes, so that every value is known."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.factor * nn.functional.avg_pool2d(images[:, None], size) for size in (8, 16))


class HybridModel:
    """What a hybrid encoder needs of an image-text model."""

    identity = ModelIdentity(name="hybrid", weights_sha256="1" * 64)
    side = 64

    def __init__(self, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        settings = HybridSettings(image_size=64, depth=1, feature_channels=(3, 5))
        self.visual = self.tower = HybridTower(settings).eval().to(dtype)
        self.dtype = dtype

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        return self.tower.normalise(images).to(self.dtype)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def offline(monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_any_module_is_an_encoder(images):
    encoder = ModulePatchEncoder(Means(), "means", side=32)
    fine, coarse = encoder.patch_features(images)
    assert fine.shape == (3, 1, 4, 4)
    assert coarse.shape == (3, 1, 2, 2)
    assert float(coarse[2, 0, 1, 0]) == pytest.approx(2 * float(images[2, 16:, :16].mean()))
    assert (encoder.identity.name, encoder.side, encoder.text_level) == ("means", 32, None)


def test_a_module_in_bfloat16_answers_in_float32(images):
    exact = ModulePatchEncoder(Means(), "means", 32).patch_features(images)[0]
    rounded = ModulePatchEncoder(Means(), "means", 32, dtype=torch.bfloat16).patch_features(images)[0]
    assert rounded.dtype == torch.float32
    assert 0 < float((exact - rounded).abs().max()) < 0.02


def test_the_hash_follows_the_weights():
    first, second = Means(), Means()
    assert hash_of(first) == hash_of(second)
    second.factor.data += 1e-6
    assert hash_of(first) != hash_of(second)


def test_a_convolutional_network_of_timm_gives_strides_8_and_16():
    torch.manual_seed(0)
    encoder = TimmPatchEncoder(SMALL, pretrained=False, side=64)
    images = torch.rand(2, 64, 64)
    fine, coarse = encoder.patch_features(images)
    assert fine.shape[2:] == (8, 8)
    assert coarse.shape[2:] == (4, 4)
    features = timm.create_model(SMALL, features_only=True)
    features.load_state_dict(encoder._module._network.state_dict())
    mean, std = (torch.tensor(features.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        expected = features.eval()((images[:, None].expand(-1, 3, -1, -1) - mean) / std)
    strides = features.feature_info.reduction()
    torch.testing.assert_close(fine, expected[strides.index(8)], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(coarse, expected[strides.index(16)], atol=1e-5, rtol=1e-4)


def test_a_plain_vision_transformer_of_timm_gives_two_depths():
    encoder = TimmPatchEncoder("vit_tiny_patch16_224", pretrained=False, side=64)
    middle, late = encoder.patch_features(torch.rand(1, 64, 64))
    assert middle.shape == late.shape == (1, 192, 4, 4)
    assert float((middle - late).abs().max()) > 0


def test_a_network_that_puts_its_channels_last_is_turned():
    encoder = TimmPatchEncoder("swin_tiny_patch4_window7_224", pretrained=False, side=64)
    shapes = [tuple(level.shape) for level in encoder.patch_features(torch.rand(1, 64, 64))]
    assert shapes == [(1, 192, 8, 8), (1, 384, 4, 4)]


def test_weights_come_from_a_file(tmp_path, offline):
    torch.manual_seed(3)
    whole = timm.create_model(SMALL)
    path = tmp_path / "weights.safetensors"
    save_file(whole.state_dict(), path)
    encoder = load_patch_encoder(f"timm:{SMALL}@{path}", "cpu", "float32")
    stem = encoder._module._network.conv_stem.weight
    torch.testing.assert_close(stem.detach(), whole.conv_stem.weight.detach(), atol=0, rtol=0)
    assert encoder.side == 224
    assert encoder.identity.name == f"timm:{SMALL}"
    assert encoder.identity.weights_sha256 != TimmPatchEncoder(SMALL, pretrained=False).identity.weights_sha256


def test_errors_of_timm_networks_say_what_to_do(tmp_path, offline):
    with pytest.raises(ModelError, match=r"timm knows no network 'nothing'"):
        TimmPatchEncoder("nothing")
    with pytest.raises(ModelError, match=r"cannot be built.*timm:NAME@FILE"):
        TimmPatchEncoder("resnet50d")
    with pytest.raises(ModelError, match="There is no weights file"):
        TimmPatchEncoder(SMALL, weights=tmp_path / "missing.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be built"):
        TimmPatchEncoder(SMALL, weights=damaged)


def test_tokens_of_a_transformer_become_maps(tiny_clip, images):
    encoder = TokenPatchEncoder(tiny_clip, (1, 4))
    *maps, embeddings = encoder.patch_features(images)
    tower = tiny_clip.tower
    assert (encoder.text_level, encoder.level_weights, embeddings.shape) == (2, (1, 1, 0), (3, 16, 4, 4))
    with torch.inference_mode():
        for level, layer in zip(maps, (1, 4), strict=True):
            tokens = tower.tokens_after(tiny_clip.normalise(images), layer)[:, tower.prefix_tokens :]
            assert level.shape == (3, 32, 4, 4)
            torch.testing.assert_close(level[2, :, 3, 1], tokens[2, 13], atol=1e-5, rtol=1e-4)
    assert encoder.identity == tiny_clip.identity


def test_tokens_come_from_the_middle_and_three_quarters_unless_told(tiny_clip, images):
    default, told = TokenPatchEncoder(tiny_clip), TokenPatchEncoder(tiny_clip, (5, 7))
    for one, other in zip(default.patch_features(images), told.patch_features(images), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("layers", [(1, 4), (9,), (10,), (3, 9, 10)])
def test_patch_embeddings_average_to_the_image_in_the_texts_space(tiny_clip, images, layers):
    embeddings = TokenPatchEncoder(tiny_clip, layers).patch_features(images)[-1]
    tower = tiny_clip.tower
    with torch.inference_mode():
        patches = tower.project_patches(tower.tokens_after(tiny_clip.normalise(images), 10))
        image = tiny_clip.visual(tiny_clip.normalise(images))
    expected = (patches / patches.norm(dim=-1, keepdim=True)).transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(patches.mean(1), image, atol=1e-5, rtol=1e-4)


def test_a_bank_is_what_it_was_without_the_patch_embeddings(tiny_clip, images):
    encoder = TokenPatchEncoder(tiny_clip)
    levels = [level.flatten(2).transpose(1, 2).flatten(0, 1) for level in encoder.patch_features(images)]
    for metric in ("l2", "cosine"):
        settings = NormalBankSettings(metric=metric)
        with_text = FeatureScale.of(levels, settings, encoder.level_weights).apply(levels)
        without = FeatureScale.of(levels[:2], settings).apply(levels[:2])
        torch.testing.assert_close(torch.cdist(with_text, with_text), torch.cdist(without, without))


@pytest.mark.parametrize("layers", [(3, 1), (11,), (-1, 2), (2, 2)])
def test_layers_that_a_tower_does_not_have(tiny_clip, layers):
    with pytest.raises(ModelError, match="do not fit a model of 11 blocks"):
        TokenPatchEncoder(tiny_clip, layers)


def test_a_hybrid_tower_gives_its_distilled_features():
    model = HybridModel(torch.float32)
    images = torch.rand(2, 64, 64)
    encoder = HybridPatchEncoder(model)
    fine, coarse, text = encoder.patch_features(images)
    assert len(encoder.level_weights) == 3
    assert encoder.text_level == 2
    with torch.inference_mode():
        expected = model.tower.patch_features(model.tower.feature_maps(model.normalise(images)))
    assert fine.shape == (2, 3, 8, 8)
    assert coarse.shape == (2, 5, 4, 4)
    assert text.shape == (2, 192, 4, 4)
    assert text.norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(fine, expected[0])
    torch.testing.assert_close(coarse, expected[1])


def test_a_hybrid_tower_in_bfloat16_answers_in_float32():
    images = torch.rand(1, 64, 64)
    exact, rounded = (
        HybridPatchEncoder(HybridModel(dtype)).patch_features(images)[0] for dtype in (torch.float32, torch.bfloat16)
    )
    assert rounded.dtype == torch.float32
    assert 0 < float((exact - rounded).abs().max()) < 0.2 * float(exact.abs().max())


def test_a_model_gives_the_best_features_it_has(tiny_clip):
    assert isinstance(patch_encoder_of(HybridModel(torch.float32)), HybridPatchEncoder)
    assert isinstance(patch_encoder_of(tiny_clip), TokenPatchEncoder)
    with pytest.raises(ModelError, match="no distilled patch features"):
        HybridPatchEncoder(tiny_clip)


def test_a_folder_is_loaded_by_its_name(tiny_clip_folder, tiny_clip, images):
    loaded = load_patch_encoder(str(tiny_clip_folder), "cpu", "float32").patch_features(images)
    torch.testing.assert_close(loaded[0], TokenPatchEncoder(tiny_clip).patch_features(images)[0])


def test_a_model_of_biomedclips_kind_gives_its_tokens(biomedclip_folder, models_folder):
    hub.pull_model("biomedclip", biomedclip_folder)
    encoder = load_patch_encoder("biomedclip", "cpu", "float32")
    fine, coarse, text = encoder.patch_features(torch.rand(1, 224, 224))
    assert fine.shape == coarse.shape == (1, 192, 14, 14)
    assert text.shape == (1, 32, 14, 14)
    assert text.norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)


def test_encoders_of_a_name_share_one_model(tiny_clip_folder):
    encoders = NamedEncoders(str(tiny_clip_folder), "cpu", "float32")
    assert encoders.patch_encoder() is encoders.patch_encoder()
    assert encoders.patch_encoder()._model is encoders.image_text_model()


def test_encoders_without_text_say_so():
    with pytest.raises(ModelError, match=r"timm:resnet18 reads no text"):
        NamedEncoders("timm:resnet18", "cpu").image_text_model()
    given = GivenEncoders(patches=ModulePatchEncoder(Means(), "means"))
    assert given.patch_encoder().identity.name == "means"
    with pytest.raises(ModelError, match="reads no text"):
        given.image_text_model()


def test_given_models_give_their_own_patches(tiny_clip):
    assert GivenEncoders(tiny_clip).patch_encoder().identity == tiny_clip.identity
