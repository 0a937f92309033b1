"""Convolutional image towers, place by place, and what works on a folder of one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from anomalabel.backbones.check import check_model
from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.backbones.loading import CONFIG_FILE, WEIGHT_FILES, load_model
from anomalabel.backbones.patch_encoders import ResNetPatchEncoder, load_patch_encoder, patch_encoder_of
from anomalabel.backbones.resnet import ConvolutionalTrunk, convolutional_trunk
from anomalabel.config import DetectionRequest
from anomalabel.errors import ModelError
from anomalabel.pipeline import DetectionPipeline

NATIVE = {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "patch_size": None}
TIMM = {"image_size": 64, "timm_model_name": "test_resnet", "timm_pool": "avg", "timm_proj": "linear"}
EVA = {"image_size": 224, "timm_model_name": "eva02_tiny_patch14_224", "timm_pool": "", "timm_proj": "linear"}


@torch.no_grad()
def roughened(module: nn.Module) -> nn.Module:
    """Every weight and statistic random, none at the zeros that open_clip starts its residual blocks with."""
    generator = torch.Generator().manual_seed(7)
    for value in [*module.parameters(), *module.buffers()]:
        if value.is_floating_point():
            value.add_(0.4 * (torch.rand(value.shape, generator=generator) - 0.5))
    return module.eval().requires_grad_(False)


def native() -> ModifiedResNet:
    torch.manual_seed(0)
    return roughened(ModifiedResNet([1, 2, 1, 1], output_dim=12, heads=4, image_size=64, width=8))


def timm_model(name: str = "test_resnet", **changes) -> TimmModel:
    torch.manual_seed(0)
    return roughened(TimmModel(name, 12, image_size=160, **{"pool": "avg", "proj": "linear", **changes}))


def trunk_of(visual: nn.Module) -> ConvolutionalTrunk:
    trunk = convolutional_trunk(visual)
    assert trunk is not None
    return trunk


def outputs_of(visual: nn.Module, images: torch.Tensor, *modules: nn.Module) -> list[torch.Tensor]:
    """What the network's own forward makes in some of its modules."""
    seen: list[torch.Tensor] = []
    handles = [one.register_forward_hook(lambda module, given, out: seen.append(out)) for one in modules]
    try:
        visual(images)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def speckle(seed: int, checked: bool = False) -> Image.Image:
    """A picture of noise, on demand with a checkerboard in its lower right quarter."""
    image = np.random.default_rng(seed).uniform(40, 240, (64, 64))
    if checked:
        rows, columns = np.mgrid[:32, :32] // 8
        image[32:, 32:] = 40 + 200 * ((rows + columns) % 2)
    return Image.fromarray(image.astype(np.uint8))


def model_folder(folder: Path, template: Path, vision: dict) -> Path:
    """A folder of the tiny model's form with another image tower."""
    shutil.copytree(template, folder)
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["model_cfg"]["vision_cfg"] = vision
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    parts = {key: value for key, value in config["model_cfg"].items() if key != "custom_text"}
    torch.manual_seed(0)
    save_file(roughened(open_clip.CustomTextCLIP(**parts)).state_dict(), folder / WEIGHT_FILES[0])
    return folder


@pytest.fixture(scope="module", params=[NATIVE, TIMM], ids=["open_clip", "timm"])
def resnet_folder(request, tiny_clip_folder, tmp_path_factory) -> Path:
    return model_folder(tmp_path_factory.mktemp("resnets") / "resnet", tiny_clip_folder, request.param)


@pytest.fixture(scope="module")
def resnet(resnet_folder) -> OpenClipModel:
    return load_model(str(resnet_folder), "cpu", "float32")


@pytest.mark.parametrize("build", [native, timm_model], ids=["open_clip", "timm"])
def test_levels_are_the_networks_own_maps(build):
    visual = build()
    side = visual.image_size if isinstance(visual, ModifiedResNet) else visual.image_size[0]
    images = torch.randn(2, 3, side, side)
    network = visual if isinstance(visual, ModifiedResNet) else visual.trunk
    expected = outputs_of(visual, images, network.layer2, network.layer3)
    fine, coarse, embeddings = trunk_of(visual).levels(images)
    torch.testing.assert_close(fine, expected[0])
    torch.testing.assert_close(coarse, expected[1])
    assert (fine.shape[2], coarse.shape[2], embeddings.shape) == (side / 8, side / 16, (2, 12, side // 32, side // 32))


def test_a_place_goes_through_the_attention_pools_value_path():
    visual = native()
    images = torch.randn(2, 3, 64, 64)
    last = outputs_of(visual, images, visual.layer4)[0]
    embeddings = trunk_of(visual).levels(images)[2]
    pool = visual.attnpool
    for row in range(2):
        for column in range(2):
            place = last[1, :, row, column] + pool.positional_embedding[1 + 2 * row + column]
            expected = pool.c_proj.weight @ (pool.v_proj.weight @ place + pool.v_proj.bias) + pool.c_proj.bias
            torch.testing.assert_close(embeddings[1, :, row, column], expected, rtol=1e-4, atol=1e-4)


def test_an_attention_pool_that_looks_everywhere_alike_is_the_mean_of_places_and_mean_place():
    visual = native()
    pool = visual.attnpool
    pool.q_proj.weight.zero_()
    pool.q_proj.bias.zero_()
    images = torch.randn(2, 3, 64, 64)
    mean_place = outputs_of(visual, images, visual.layer4)[0].mean((2, 3)) + pool.positional_embedding[0]
    embeddings = trunk_of(visual).levels(images)[2].flatten(2)
    parts = torch.cat([pool.c_proj(pool.v_proj(mean_place))[:, :, None], embeddings], dim=2)
    torch.testing.assert_close(parts.mean(2), visual(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("changes", [{}, {"proj": ""}, {"proj_bias": True}], ids=["linear", "classifier", "bias"])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_after_average_pooling_the_mean_of_places_is_the_image(name, changes):
    visual = timm_model(name, **changes)
    images = torch.randn(2, 3, 160, 160)
    embeddings = trunk_of(visual).levels(images)[2]
    assert float(embeddings.flatten(2).std(2).min()) > 0
    torch.testing.assert_close(embeddings.mean((2, 3)), visual(images), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("name", "changes"), [("test_resnet", {"proj": "mlp"}), ("test_convnext", {})])
def test_a_head_that_is_not_linear_is_applied_to_each_place(name, changes):
    visual = timm_model(name, **changes)
    images = torch.randn(1, 3, 160, 160)
    embeddings = trunk_of(visual).levels(images)[2]
    last = visual.trunk.forward_features(images)
    for row, column in ((0, 0), (3, 1)):
        alone = last[:, :, row : row + 1, column : column + 1]
        expected = visual.head(visual.trunk.forward_head(alone))[0]
        torch.testing.assert_close(embeddings[0, :, row, column], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pool", ["rot_attn", "abs_attn"])
def test_timms_attention_pools_give_their_value_path(pool):
    visual = timm_model("resnet10t", pool=pool)
    attention = visual.head.pool
    channels = attention.embed_dim
    attention.qkv.weight[:channels] = 0
    attention.qkv.bias[:channels] = 0
    images = torch.randn(2, 3, 160, 160)
    last = outputs_of(visual, images, visual.trunk.layer4)[0]
    embeddings = trunk_of(visual).levels(images)[2].flatten(2)
    mean_place = last.mean((2, 3)) + (attention.pos_embed[0] if pool == "abs_attn" else 0)
    value = mean_place @ attention.qkv.weight[2 * channels :].T + attention.qkv.bias[2 * channels :]
    parts = torch.cat([visual.head.proj(attention.proj(value))[:, :, None], embeddings], dim=2)
    torch.testing.assert_close(parts.mean(2), visual(images), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "build",
    [
        lambda: VisionTransformer(32, 8, width=32, layers=2, heads=2, mlp_ratio=2.0),
        lambda: TimmModel("test_vit", 12, pool=""),
        lambda: TimmModel("eva02_tiny_patch14_224", 12, pool=""),
        lambda: TimmModel("swin_tiny_patch4_window7_224", 12, pool="avg"),
    ],
    ids=["ViT", "timm ViT", "timm EVA", "channels last"],
)
def test_towers_of_other_kinds(build):
    assert convolutional_trunk(build()) is None


def test_patch_features_of_a_folder(resnet_folder, resnet):
    encoder = load_patch_encoder(str(resnet_folder), "cpu", "float32")
    assert isinstance(encoder, ResNetPatchEncoder)
    images = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    levels = encoder.patch_features(images)
    expected = trunk_of(resnet.visual).levels(resnet.normalise(images))
    assert [level.shape[2] for level in levels] == [8, 4, 2]
    assert {level.dtype for level in levels} == {torch.float32}
    torch.testing.assert_close(levels[0], expected[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(levels[1], expected[1], rtol=1e-4, atol=1e-4)
    assert (encoder.text_level, encoder.identity, encoder.side) == (2, resnet.identity, 64)
    unit = expected[2] / expected[2].norm(dim=1, keepdim=True)
    torch.testing.assert_close(levels[2], unit, rtol=1e-4, atol=1e-4)
    assert levels[2].shape[1] == resnet.encode_texts(["glioma"]).shape[1]


def test_in_bfloat16_the_answers_are_float32(resnet_folder):
    images = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(1))
    exact, rounded = (
        load_patch_encoder(str(resnet_folder), "cpu", precision).patch_features(images)
        for precision in ("float32", "bfloat16")
    )
    assert rounded[2].dtype == torch.float32
    cosine = (exact[2] * rounded[2]).sum(1)
    assert 0.98 < float(cosine.min()) < 1


def test_its_facts_are_told(resnet_folder, resnet):
    facts = check_model(str(resnet_folder), "cpu")
    assert (facts.side, facts.grid, facts.depth) == (64, (4, 4), 0)
    assert facts.weights_sha256 == resnet.identity.weights_sha256
    normal, tumor = resnet.encode_texts(["normal", "tumor"])
    assert facts.texts_differ == pytest.approx(float(normal @ tumor), abs=1e-3)
    assert facts.milliseconds > 0


def test_texts_are_read_and_clap_is_told_to_take_another_model(resnet_folder, resnet, tmp_path):
    torch.testing.assert_close(resnet.encode_texts(["glioma", "brain"]).norm(dim=1), torch.ones(2))
    speckle(0).save(tmp_path / "image.png")
    request = DetectionRequest(config="chest_xray", method="clap", backbone=str(resnet_folder))
    with pytest.raises(ModelError, match=r"needs a plain ViT: choose another model; with a ResNet.*normal_bank"):
        DetectionPipeline("cpu", "float32").detect(tmp_path / "image.png", request)


def test_a_normal_bank_finds_what_is_foreign(resnet_folder, tmp_path):
    for seed in range(5):
        speckle(seed, checked=seed == 4).save(tmp_path / f"{seed}.png")
    pipeline = DetectionPipeline("cpu", "float32")
    request = DetectionRequest(config="chest_xray", method="normal_bank", backbone=str(resnet_folder))
    detector = pipeline.detector(request, [tmp_path / f"{seed}.png" for seed in range(3)])
    healthy, sick = (pipeline.detect(tmp_path / f"{seed}.png", request, detector=detector) for seed in (3, 4))
    assert sick.report.image_score > 1.2 * healthy.report.image_score
    foreign = sick.anomaly_map[0, 36:, 36:]
    assert float(foreign.mean()) > 1.3 * float(sick.anomaly_map[0, :28, :28].mean())


def test_towers_that_are_neither_give_no_patch_features(tiny_clip_folder, tmp_path):
    model = load_model(str(model_folder(tmp_path / "eva", tiny_clip_folder, EVA)), "cpu", "float32")
    with pytest.raises(ModelError, match="Eva is no plain vision transformer"):
        patch_encoder_of(model)
    with pytest.raises(ModelError, match="no feature maps at strides 8 and 16"):
        ResNetPatchEncoder(model)
