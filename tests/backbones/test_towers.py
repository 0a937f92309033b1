"""A tower cut at any block gives what the module's own forward gives."""

import open_clip
import pytest
import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import nn

from anomalabel.backbones.blocks import attend, run_blocks
from anomalabel.backbones.towers import check_layer, embed_patches, image_tower, normaliser
from anomalabel.errors import ModelError

LAYERS = 4


def native(**changes) -> VisionTransformer:
    parts = {"image_size": 32, "patch_size": 8, "width": 32, "layers": LAYERS, "heads": 2, "mlp_ratio": 4.0}
    return VisionTransformer(**{**parts, "output_dim": 24, **changes})


TOWERS = {
    "native, class token": lambda: native(pool_type="tok"),
    "native, average": lambda: native(pool_type="avg"),
    "native, norm after pooling": lambda: native(pool_type="avg", final_ln_after_pool=True),
    "native, layer scale": lambda: native(ls_init_value=0.5, no_ln_pre=True),
    "native, custom blocks": lambda: native(block_type="custom", qk_norm=True, scale_attn=True),
    "native, wide patches": lambda: native(image_size=(32, 48)),
    "timm, class token": lambda: TimmModel("test_vit", 24, image_size=160, pool="", proj="linear"),
    "timm, average": lambda: TimmModel("test_vit", 24, image_size=160, pool="avg", proj="mlp"),
    "timm, attention pooling": lambda: TimmModel("test_vit3", 24, image_size=160, pool="", proj="linear"),
    "timm, two class tokens": lambda: TimmModel("deit_tiny_distilled_patch16_224", 24, pool="", proj="linear"),
    "timm, parallel blocks": lambda: TimmModel("vit_pwee_patch16_reg1_gap_256", 24, 256, pool="", proj="linear"),
}


@pytest.fixture(scope="module", params=TOWERS)
def visual(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    module = TOWERS[request.param]().eval().requires_grad_(False)
    for parameter in module.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    return module


@pytest.fixture(scope="module")
def images(visual: nn.Module) -> torch.Tensor:
    height, width = visual.image_size
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def own_blocks(visual: nn.Module) -> nn.ModuleList:
    return visual.transformer.resblocks if isinstance(visual, VisionTransformer) else visual.trunk.blocks


def test_cut_at_every_block_the_two_halves_make_the_modules_own_forward(visual, images):
    tower = image_tower(visual)
    expected = visual(images)
    for layer in range(tower.depth):
        whole = tower.embed_from(tower.tokens_after(images, layer), layer)
        torch.testing.assert_close(whole, expected, rtol=1e-4, atol=1e-5)


def test_tokens_are_the_output_of_the_modules_own_block(visual, images):
    tower = image_tower(visual)
    layer = tower.depth // 2
    seen = []
    handle = own_blocks(visual)[layer].register_forward_hook(lambda block, arguments, output: seen.append(output))
    try:
        visual(images)
    finally:
        handle.remove()
    torch.testing.assert_close(tower.tokens_after(images, layer), seen[0], rtol=1e-4, atol=1e-5)


def test_shapes_tell_the_truth(visual, images):
    tower = image_tower(visual)
    rows, columns = tower.grid
    tokens = tower.tokens_after(images, 0)
    assert tokens.shape == (2, tower.prefix_tokens + rows * columns, tower.width)
    assert tower.depth == len(own_blocks(visual))


def test_gradients_through_the_upper_half_are_the_modules_own(visual, images):
    tower = image_tower(visual)
    layer = tower.depth - 2
    tokens = tower.tokens_after(images, layer).clone().requires_grad_()
    weights = torch.randn(2, 24, generator=torch.Generator().manual_seed(2))
    (ours,) = torch.autograd.grad((tower.embed_from(tokens, layer) * weights).sum(), tokens)

    def replace(block, arguments, output):
        return tokens

    handle = own_blocks(visual)[layer].register_forward_hook(replace)
    try:
        (theirs,) = torch.autograd.grad((visual(images) * weights).sum(), tokens)
    finally:
        handle.remove()
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("pool_type", ["tok", "avg"])
def test_the_mean_of_patch_embeddings_is_the_average_pooled_embedding(pool_type):
    torch.manual_seed(0)
    visual = native(pool_type=pool_type).eval()
    tower = image_tower(visual)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        patches = tower.project_patches(tower.tokens_after(images, LAYERS - 1))
        average = visual(images)
    assert patches.shape == (2, 16, 24)
    assert torch.allclose(patches.mean(1), average, atol=1e-5) == (pool_type == "avg")


def test_patches_of_a_timm_trunk_are_projected_by_its_head():
    torch.manual_seed(0)
    visual = TimmModel("test_vit", 24, image_size=160, pool="", proj="linear").eval()
    tower = image_tower(visual)
    with torch.inference_mode():
        tokens = tower.tokens_after(torch.randn(2, 3, 160, 160), tower.depth - 1)
        expected = visual.head(visual.trunk.norm(tokens)[:, 1:])
        torch.testing.assert_close(tower.project_patches(tokens), expected)


def test_a_patch_is_pooled_alone_where_the_pool_is_attention():
    torch.manual_seed(0)
    visual = TimmModel("test_vit3", 24, image_size=160, pool="", proj="linear").eval()
    tower, pool = image_tower(visual), visual.trunk.attn_pool
    with torch.inference_mode():
        tokens = tower.tokens_after(torch.randn(2, 3, 160, 160), tower.depth - 1)
        patches = visual.trunk.norm(tokens)[:, tower.prefix_tokens :]
        channels = patches.shape[-1]
        value = patches @ pool.kv.weight[channels:].T + pool.kv.bias[channels:]
        written = pool.proj(value)
        expected = visual.head(visual.trunk.fc_norm(written + pool.mlp(pool.norm(written))))
        torch.testing.assert_close(tower.project_patches(tokens), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("proj", ["linear", ""])
def test_a_timm_trunk_pooled_by_average(proj):
    torch.manual_seed(0)
    visual = TimmModel("test_vit", 24, image_size=160, pool="avg", proj=proj).eval()
    tower, trunk = image_tower(visual), visual.trunk
    images = torch.randn(2, 3, 160, 160)
    with torch.inference_mode():
        tokens = tower.tokens_after(images, tower.depth - 1)
        patches = tower.project_patches(tokens)
        if proj:
            torch.testing.assert_close(patches.mean(1), visual(images), rtol=1e-4, atol=1e-5)
        else:
            torch.testing.assert_close(patches[1, 7], trunk.head(trunk.fc_norm(trunk.norm(tokens)[1, 8])))


def spelled_out(value: torch.Tensor, heads: int) -> torch.Tensor:
    """Value-value attention of (T, C), number by number."""
    width = value.shape[1] // heads
    out = torch.zeros_like(value)
    for head in range(heads):
        part = value[:, head * width : (head + 1) * width]
        for token in range(len(value)):
            likeness = torch.tensor([float(part[token] @ other) / width**0.5 for other in part])
            shares = likeness.exp() / likeness.exp().sum()
            out[token, head * width : (head + 1) * width] = (shares[:, None] * part).sum(0)
    return out


def test_values_attend_to_values_where_the_class_token_is_the_image():
    torch.manual_seed(0)
    visual = native(pool_type="tok", ls_init_value=0.5).eval()
    tower, block = image_tower(visual), visual.transformer.resblocks[-1]
    tokens = torch.randn(2, 17, 32)
    with torch.inference_mode():
        ours = embed_patches(tower, tokens)
        value = block.ln_1(tokens) @ block.attn.in_proj_weight[64:].T + block.attn.in_proj_bias[64:]
        written = 0.5 * block.attn.out_proj(spelled_out(value[1], 2))
        torch.testing.assert_close(ours[1], (visual.ln_post(written) @ visual.proj)[1:], rtol=1e-4, atol=1e-5)


def test_values_attend_to_values_in_a_timm_trunk():
    torch.manual_seed(0)
    visual = TimmModel("test_vit", 24, image_size=160, pool="", proj="linear").eval()
    tower, block = image_tower(visual), visual.trunk.blocks[-1]
    tokens, channels = torch.randn(1, 101, tower.width), tower.width
    with torch.inference_mode():
        ours = embed_patches(tower, tokens)
        value = block.norm1(tokens[0]) @ block.attn.qkv.weight[2 * channels :].T + block.attn.qkv.bias[2 * channels :]
        written = block.ls1(block.attn.proj(spelled_out(value, block.attn.num_heads)))
        expected = visual.head(visual.trunk.norm(written))[1:]
    torch.testing.assert_close(ours[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["native, average", "native, custom blocks", "timm, parallel blocks"])
def test_other_towers_project_what_leaves_their_last_block(name):
    torch.manual_seed(0)
    visual = TOWERS[name]().eval()
    tower = image_tower(visual)
    height, width = visual.image_size
    images = torch.randn(1, 3, height, width)
    with torch.inference_mode():
        ours = embed_patches(tower, tower.tokens_after(images, tower.depth - 2))
        expected = tower.project_patches(tower.tokens_after(images, tower.depth - 1))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_a_patch_is_blind_to_what_differs_from_it():
    """Its values like those of its own kind: a far-off bright square leaves the others' embeddings nearly alone."""
    torch.manual_seed(0)
    visual = native(pool_type="tok").eval()
    tower = image_tower(visual)
    block = visual.transformer.resblocks[-1]
    tokens = torch.randn(1, 1, 32).repeat(1, 17, 1)
    changed = tokens.clone()
    changed[0, 9] *= -1
    with torch.inference_mode():
        block.attn.in_proj_weight[64:] *= 8
        before, after = (embed_patches(tower, given) for given in (tokens, changed))
    moved = (after - before).norm(dim=-1)[0]
    assert float(moved[8]) > 100 * float(torch.cat([moved[:8], moved[9:]]).max())


@pytest.mark.parametrize(
    "build", [lambda: native(patch_dropout=0.5), lambda: TimmModel("test_vit", 24, patch_drop=0.5)]
)
def test_no_patch_is_dropped_once_training_is_over(build):
    visual = build().eval()
    tower = image_tower(visual)
    height, width = visual.image_size if isinstance(visual, VisionTransformer) else (160, 160)
    rows, columns = tower.grid
    with torch.inference_mode():
        tokens = tower.tokens_after(torch.randn(1, 3, height, width), 0)
    assert tokens.shape[1] == tower.prefix_tokens + rows * columns


def test_attention_by_hand():
    query, key, value = (torch.randn(2, 3, length, 4) for length in (5, 6, 6))
    scores = torch.einsum("nhqc,nhkc->nhqk", query, key) / 2
    expected = torch.einsum("nhqk,nhkc->nhqc", scores.exp() / scores.exp().sum(-1, keepdim=True), value)
    torch.testing.assert_close(attend(query, key, value), expected)


@pytest.mark.parametrize("keep", [1, 3, None])
def test_of_the_last_block_the_first_tokens_are_the_same(keep):
    torch.manual_seed(0)
    blocks = native().eval().transformer.resblocks
    tokens = torch.randn(2, 17, 32)
    with torch.inference_mode():
        torch.testing.assert_close(run_blocks(blocks, tokens, keep), nn.Sequential(*blocks)(tokens)[:, :keep])
        torch.testing.assert_close(run_blocks(blocks[:0], tokens, keep), tokens[:, :keep])


@pytest.mark.parametrize("layer", [-1, LAYERS - 1, LAYERS, 100])
def test_layers_that_leave_no_block_above_them(layer):
    with pytest.raises(ModelError, match=rf"layer {layer} does not fit a model of 4 blocks.*from 0 to 2"):
        check_layer(image_tower(native()), layer)


@pytest.mark.parametrize("layer", range(LAYERS - 1))
def test_layers_that_fit(layer):
    check_layer(image_tower(native()), layer)


@pytest.mark.parametrize(
    "build",
    [
        lambda: native(attentional_pool=True),
        lambda: open_clip.modified_resnet.ModifiedResNet([1, 1, 1, 1], 24, 8, width=8),
        lambda: TimmModel("resnet10t", 24, pool="avg"),
        lambda: TimmModel("eva02_tiny_patch14_224", 24, pool=""),
    ],
    ids=["attentional pooling", "open_clip ResNet", "timm ResNet", "timm EVA"],
)
def test_towers_that_cannot_be_cut(build):
    with pytest.raises(ModelError, match="ViT"):
        image_tower(build())


def test_means_and_deviations_of_the_folder_else_of_clip():
    visual = native()
    mean, std = normaliser(visual, torch.device("cpu"))
    assert mean.flatten().tolist() == pytest.approx([0.48145466, 0.4578275, 0.40821073])
    assert std.shape == (1, 3, 1, 1)
    visual.preprocess_cfg = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    mean, std = normaliser(visual, torch.device("cpu"))
    assert mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert std.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
