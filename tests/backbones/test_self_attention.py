"""Attention weights against what the blocks themselves compute, and against a plain reference."""

from __future__ import annotations

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import Block, ParallelThingsBlock
from torch import nn

from anomalabel.backbones.hybrid import HybridSettings, HybridTower
from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.backbones.self_attention import ClassTokenAttention, ModelSelfAttention, block_attention
from anomalabel.errors import ModelError
from anomalabel.finding import ModelIdentity

SMALL = "test_vit"
"""timm's own for tests: six blocks, a class token, 160 x 160 pixels in patches of 16."""

VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}


class HybridModel:
    """What self-attention needs of the embedded model."""

    identity = ModelIdentity(name="embedded", weights_sha256="1" * 64)
    side = 64

    def __init__(self, depth: int) -> None:
        torch.manual_seed(0)
        self.tower = HybridTower(HybridSettings(image_size=64, depth=depth)).eval()

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        return self.tower.normalise(images)


def native_model(pool: str) -> OpenClipModel:
    torch.manual_seed(0)
    network = open_clip.CustomTextCLIP(embed_dim=16, vision_cfg={**VISION, "pool_type": pool}, text_cfg=TEXT)
    identity = ModelIdentity(name="native", weights_sha256="2" * 64)
    return OpenClipModel(network, open_clip.SimpleTokenizer(context_length=8), identity, torch.device("cpu"))


def grey(count: int, side: int) -> torch.Tensor:
    return torch.rand(count, side, side, generator=torch.Generator().manual_seed(1))


def shown_by_timm(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Attention (N, heads, T, T) of the last block, as timm computes it with its fused kernel off."""
    seen = []
    last = network.blocks[-1].attn
    last.fused_attn = False
    hook = last.attn_drop.register_forward_hook(lambda module, given, weights: seen.append(weights))
    with torch.inference_mode():
        network(images)
    hook.remove()
    return seen[0]


def changed_networks(monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
    """From now on timm builds its networks with other options."""
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *given, **named: create(*given, **named, **options))


@pytest.mark.parametrize("registers", [0, 4])
def test_it_is_the_class_tokens_attention_that_timm_computes(tmp_path, monkeypatch, registers):
    changed_networks(monkeypatch, reg_tokens=registers)
    torch.manual_seed(2)
    network = timm.create_model(SMALL, num_classes=0).eval()
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    encoder = ClassTokenAttention(SMALL, tmp_path / "weights.safetensors")
    images = grey(2, 160)
    (level,) = encoder.patch_features(images)
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    weights = shown_by_timm(network, (images[:, None].expand(-1, 3, -1, -1) - mean) / std)
    expected = weights[:, :, 0, 1 + registers :].mean(1).reshape(2, 10, 10)
    assert (level.shape, level.dtype, encoder.side) == ((2, 1, 10, 10), torch.float32, 160)
    torch.testing.assert_close(level[:, 0], expected, atol=1e-6, rtol=1e-4)
    rest = weights[:, :, 0, : 1 + registers].sum(-1).mean(1)
    torch.testing.assert_close(level.sum((1, 2, 3)), 1 - rest, atol=1e-5, rtol=0)
    assert encoder.identity.name == "class-token self-attention of test_vit"
    assert encoder.identity.weights_sha256 != ClassTokenAttention(SMALL).identity.weights_sha256
    assert (encoder.level_weights, encoder.text_level) == ((1.0,), None)


def test_normalised_queries_and_keys_are_respected():
    torch.manual_seed(3)
    block = Block(32, 4, qkv_bias=True, qk_norm=True).eval()
    for norm in (block.attn.q_norm, block.attn.k_norm):
        nn.init.uniform_(norm.weight, 1, 3)
    tokens, seen = torch.randn(2, 6, 32), []
    block.attn.fused_attn = False
    block.attn.attn_drop.register_forward_hook(lambda module, given, weights: seen.append(weights))
    with torch.inference_mode():
        block(tokens)
        torch.testing.assert_close(block_attention(block, tokens, slice(None)), seen[0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(
            block_attention(block, tokens, slice(2, 4)), seen[0][:, :, 2:4], atol=1e-6, rtol=1e-5
        )


@pytest.mark.parametrize(
    ("pool", "queries", "name"),
    [
        ("tok", slice(0, 1), "class-token self-attention of native"),
        ("avg", slice(1, None), "mean self-attention of native"),
    ],
)
def test_open_clips_own_tower(pool, queries, name):
    model = native_model(pool)
    encoder, images = ModelSelfAttention(model), grey(3, 32)
    (level,) = encoder.patch_features(images)
    tower = model.tower
    with torch.inference_mode():
        tokens = tower.blocks[-1].ln_1(tower.tokens_after(model.normalise(images), 0))
        _, weights = tower.blocks[-1].attn(tokens, tokens, tokens, average_attn_weights=True)
    expected = weights[:, queries, 1:].mean(1).reshape(3, 1, 4, 4)
    torch.testing.assert_close(level, expected, atol=1e-6, rtol=1e-4)
    assert encoder.identity == ModelIdentity(name=name, weights_sha256="2" * 64)
    assert (encoder.side, encoder.level_weights, encoder.text_level) == (32, (1.0,), None)


@pytest.mark.parametrize("depth", [1, 3])
def test_of_a_tower_without_class_token_it_is_what_all_patches_look_at(depth):
    model = HybridModel(depth)
    images, seen = grey(2, 64), []
    attention = model.tower.blocks[-1].attn
    (level,) = ModelSelfAttention(model).patch_features(images)
    attention.fused_attn = False
    attention.attn_drop.register_forward_hook(lambda module, given, weights: seen.append(weights))
    with torch.inference_mode():
        tokens = model.tower.embed(model.normalise(images))
        for block in model.tower.blocks:
            tokens = block(tokens)
    torch.testing.assert_close(level, seen[0].mean((1, 2)).reshape(2, 1, 4, 4), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(level.sum((1, 2, 3)), torch.ones(2), atol=1e-5, rtol=0)
    assert ModelSelfAttention(model).identity.name == "mean self-attention of embedded"


def test_bfloat16_answers_in_float32():
    torch.manual_seed(0)
    exact = ClassTokenAttention(SMALL)
    torch.manual_seed(0)
    rounded = ClassTokenAttention(SMALL, dtype=torch.bfloat16)
    images = grey(1, 160)
    one, other = (encoder.patch_features(images)[0] for encoder in (exact, rounded))
    assert other.dtype == torch.float32
    assert 0 < float((one - other).abs().max()) < 0.05 * float(one.max())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "timm knows no network 'nothing'"),
        ("resnet18", "no plain vision transformer with a class token"),
        # Its only prefix token is a register.
        ("test_vit2", "no plain vision transformer with a class token"),
        ("vit_tiny_patch16_dinov3_qkvb", "no plain vision transformer with a class token"),
    ],
)
def test_networks_without_class_token_attention(name, message):
    with pytest.raises(ModelError, match=message):
        ClassTokenAttention(name)


def test_blocks_of_another_kind(monkeypatch):
    changed_networks(monkeypatch, block_fn=ParallelThingsBlock)
    with pytest.raises(
        ModelError, match="attention of test_vit cannot be read: its last block is a ParallelThingsBlock"
    ):
        ClassTokenAttention(SMALL)


def test_weights_that_do_not_fit(tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no weights")
    with pytest.raises(ModelError, match=r"test_vit cannot be built.*timm:NAME@FILE"):
        ClassTokenAttention(SMALL, damaged)
    save_file({"cls_token": torch.zeros(1, 1, 7)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="cannot be built"):
        ClassTokenAttention(SMALL, tmp_path / "other.safetensors")
