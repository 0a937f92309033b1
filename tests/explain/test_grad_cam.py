"""Maps equal those of the papers' formulas, written out, and the shared model stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as functional
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.backbones.loading import load_model
from anomalabel.errors import ModelError
from anomalabel.explain.grad_cam import Variant, grad_cam, text_score
from anomalabel.finding import ModelIdentity

VARIANTS: tuple[Variant, ...] = ("grad_cam", "grad_cam++")


@dataclass
class Model:
    """The part of an image-text model that explanations use, around any image network."""

    visual: nn.Module
    identity: ModelIdentity
    logit_scale: float = 4.0

    def normalise(self, images: Tensor) -> Tensor:
        return ((images - 0.3) / 0.3)[:, None].expand(-1, 3, -1, -1)

    def encode_texts(self, texts) -> Tensor:
        draws = [torch.Generator().manual_seed(len(text)) for text in texts]
        return functional.normalize(torch.stack([torch.randn(24, generator=draw) for draw in draws]), dim=-1)


def spots(count: int, side: int, seed: int = 0) -> Tensor:
    """Noisy pictures, each with a bright square at another place."""
    images = 0.3 + 0.1 * torch.rand(count, side, side, generator=torch.Generator().manual_seed(seed))
    for number, image in enumerate(images):
        start = (number + 1) * side // (count + 2)
        image[start : start + side // 5, side // 3 : side // 2] = 0.9
    return images


@pytest.fixture(scope="module")
def embedded() -> OpenClipModel:
    return load_model("embedded", "cpu", "float32")


def reference(
    model: OpenClipModel | Model,
    image: Tensor,
    score: Callable[[Tensor], Tensor],
    variant: Variant,
    module: str,
    grid: tuple[int, int],
) -> np.ndarray:
    """One image's map (rows, columns) by hooks on the network itself and the papers' formulas, place by place."""
    kept: list[Tensor] = []
    handle = model.visual.get_submodule(module).register_forward_hook(lambda layer, given, output: kept.append(output))
    try:
        inputs = model.normalise(image[None]).requires_grad_()
        value = score(model.visual(inputs).float()).sum()
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(value, kept[0])
    activation = kept[0].detach()
    if activation.ndim == 3:
        rows, columns = grid
        activation, gradient = (
            level[:, -rows * columns :].permute(0, 2, 1).reshape(1, -1, rows, columns)
            for level in (activation, gradient)
        )
    total = np.zeros(activation.shape[2:])
    for channel, slope in zip(activation[0].double().numpy(), gradient[0].double().numpy(), strict=True):
        if variant == "grad_cam":
            weight = slope.mean()
        else:
            weight = 0.0
            for place in np.ndindex(slope.shape):
                g = slope[place]
                if g > 0:
                    weight += g * g**2 / (2 * g**2 + channel.sum() * g**3)
        total += weight * channel
    return np.maximum(total, 0)


def assert_same_map(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert theirs.max() > 0
    np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3 * theirs.max())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("layer", "module"), [("map", "trunk.layer3"), ("tokens", "norm")])
def test_on_the_embedded_model_maps_are_the_papers_formulas(embedded, variant, layer, module) -> None:
    images = spots(2, embedded.side)
    score = text_score(embedded, ["glioma"], ["normal brain"])
    explained = grad_cam(embedded, images, score, variant, layer)
    assert explained.maps.shape == (2, 14, 14)
    assert explained.maps.dtype == np.float32
    for image, found in zip(images, explained.maps, strict=True):
        assert_same_map(found, reference(embedded, image, score, variant, module, (14, 14)))


@pytest.mark.parametrize(("variant", "layer"), [("grad_cam", "tokens"), ("grad_cam++", "map")])
def test_each_variant_takes_the_layer_it_is_made_for(embedded, variant, layer) -> None:
    images, score = spots(1, embedded.side), text_score(embedded, ["glioma"], ["normal brain"])
    chosen, named = (grad_cam(embedded, images, score, variant, one).maps for one in (None, layer))
    np.testing.assert_array_equal(chosen, named)


def native(**changed) -> VisionTransformer:
    given = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 4, "heads": 2, "mlp_ratio": 2, "output_dim": 24}
    return VisionTransformer(**{**given, **changed})


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, str, tuple[int, int]]] = {
    "native, class token": (lambda: native(pool_type="tok"), 32, "transformer.resblocks.3.ln_1", (4, 4)),
    "native, average": (lambda: native(pool_type="avg"), 32, "transformer.resblocks.3", (4, 4)),
    "native, attention": (
        lambda: native(attentional_pool=True, attn_pooler_heads=2, attn_pooler_queries=4),
        32,
        "transformer.resblocks.3",
        (4, 4),
    ),
    "timm, class token": (lambda: TimmModel("test_vit", 24, 160, "", "linear"), 160, "trunk.blocks.5.norm1", (10, 10)),
    "timm, average": (lambda: TimmModel("test_vit", 24, 160, "avg", "mlp"), 160, "trunk.blocks.5", (10, 10)),
    "CLIP ResNet": (
        lambda: open_clip.modified_resnet.ModifiedResNet([1, 1, 1, 1], 24, 8, image_size=64, width=8),
        64,
        "layer4",
        (2, 2),
    ),
    "timm ResNet": (lambda: TimmModel("resnet10t", 24, 96, "avg", "linear"), 96, "trunk.layer4", (3, 3)),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NETWORKS)
def test_other_networks(name, variant) -> None:
    build, side, module, grid = NETWORKS[name]
    torch.manual_seed(8)
    network = build().eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    model = Model(network, ModelIdentity(name="tiny", weights_sha256="0"))
    images, score = spots(3, side), text_score(model, ["tumor"], ["healthy"])
    peaks = []
    for sign in (1, -1):

        def signed(embeddings: Tensor, sign: int = sign) -> Tensor:
            return sign * score(embeddings)

        found = grad_cam(model, images, signed, variant).maps
        assert found.shape == (3, *grid)
        for image, ours in zip(images, found, strict=True):
            theirs = reference(model, image, signed, variant, module, grid)
            np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3 * theirs.max() + 1e-9)
            peaks.append(theirs.max())
    assert max(peaks) > 0


def test_the_score_of_texts_by_hand(tiny_clip) -> None:
    embeddings = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    glioma, tumor, normal = tiny_clip.encode_texts(["glioma", "tumor", "normal"])
    disease = (glioma + tumor) / torch.linalg.vector_norm(glioma + tumor)
    expected = [
        tiny_clip.logit_scale * float((row @ disease - row @ normal) / torch.linalg.vector_norm(row))
        for row in embeddings
    ]
    score = text_score(tiny_clip, ["glioma", "tumor"], ["normal"])
    assert score(embeddings).tolist() == pytest.approx(expected, rel=1e-4)


def test_scores_are_those_of_the_images(tiny_clip) -> None:
    images, score = spots(3, 32), text_score(tiny_clip, ["glioma"], ["normal"])
    with torch.inference_mode():
        expected = score(tiny_clip.visual(tiny_clip.normalise(images)))
    np.testing.assert_allclose(grad_cam(tiny_clip, images, score).scores, expected.numpy(), rtol=1e-4, atol=1e-6)


def test_what_speaks_for_a_score_does_not_speak_against_it(tiny_clip) -> None:
    images = spots(4, 32)
    score = text_score(tiny_clip, ["glioma"], ["normal"])
    towards = grad_cam(tiny_clip, images, score).maps
    away = grad_cam(tiny_clip, images, lambda embeddings: -score(embeddings)).maps
    assert towards.max() > 0
    assert away.max() > 0
    assert not ((towards > 0) & (away > 0)).any()


def test_a_score_that_nothing_moves_gives_an_empty_map(tiny_clip) -> None:
    for variant in VARIANTS:
        explained = grad_cam(tiny_clip, spots(2, 32), lambda embeddings: 0 * embeddings.sum(1) + 3, variant)
        assert (explained.maps == 0).all()
        assert explained.scores.tolist() == [3, 3]


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_image_has_the_same_map_in_any_company(tiny_clip, variant) -> None:
    images, score = spots(3, 32), text_score(tiny_clip, ["glioma"], ["normal"])
    together = grad_cam(tiny_clip, images, score, variant).maps
    alone = np.concatenate([grad_cam(tiny_clip, image[None], score, variant).maps for image in images])
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-4 * together.max())


def assert_untouched(network: nn.Module) -> None:
    assert all(not module._forward_hooks and not module._backward_hooks for module in network.modules())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in network.parameters())


def test_nothing_is_left_on_the_model_not_even_after_an_error(tiny_clip) -> None:
    score = text_score(tiny_clip, ["glioma"], ["normal"])
    before = {name: value.clone() for name, value in tiny_clip.visual.state_dict().items()}

    def fail(embeddings: Tensor) -> Tensor:
        assert_untouched(tiny_clip.visual)
        raise IndexError("of the caller")

    grad_cam(tiny_clip, spots(1, 32), score)
    assert_untouched(tiny_clip.visual)
    with pytest.raises(IndexError, match="of the caller"):
        grad_cam(tiny_clip, spots(1, 32), fail)
    assert_untouched(tiny_clip.visual)
    for name, value in tiny_clip.visual.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_weights_of_a_head_get_no_gradient(tiny_clip) -> None:
    head = nn.Linear(16, 1)
    explained = grad_cam(tiny_clip, spots(2, 32), lambda embeddings: head(embeddings)[:, 0])
    assert explained.maps.max() > 0
    assert all(parameter.grad is None for parameter in head.parameters())


def test_several_threads_and_a_model_at_work(tiny_clip) -> None:
    score = text_score(tiny_clip, ["glioma"], ["normal"])
    batches = [spots(2, 32, seed) for seed in range(6)]
    expected = [grad_cam(tiny_clip, images, score).maps for images in batches]

    def look(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return tiny_clip.visual(tiny_clip.normalise(images))

    with ThreadPoolExecutor(4) as pool:
        looks = [pool.submit(look, images) for images in batches * 4]
        found = list(pool.map(lambda images: grad_cam(tiny_clip, images, score).maps, batches * 4))
        assert all(torch.isfinite(one.result()).all() for one in looks)
    for ours, theirs in zip(found, expected * 4, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-7)


def test_inside_inference_mode(tiny_clip) -> None:
    score = text_score(tiny_clip, ["glioma"], ["normal"])
    expected = grad_cam(tiny_clip, spots(2, 32), score).maps
    with torch.inference_mode():
        found = grad_cam(tiny_clip, spots(2, 32), score).maps
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("variant", VARIANTS)
def test_in_half_precision_maps_stay_alike(embedded, variant) -> None:
    half = load_model("embedded", "cpu", "bfloat16")
    images = spots(2, embedded.side)
    exact, rough = (
        grad_cam(model, images, text_score(model, ["glioma"], ["normal brain"]), variant).maps
        for model in (embedded, half)
    )
    for one, other in zip(exact, rough, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.97


def test_what_cannot_be_explained_is_said(tiny_clip) -> None:
    score = text_score(tiny_clip, ["glioma"], ["normal"])
    with pytest.raises(ModelError, match=r"VisionTransformer has no map.*Choose tokens"):
        grad_cam(tiny_clip, spots(1, 32), score, "grad_cam", "map")
    unknown = Model(nn.Flatten(), ModelIdentity(name="flat", weights_sha256="0"))
    with pytest.raises(ModelError, match="Flatten has no layer that is known"):
        grad_cam(unknown, spots(1, 32), score)
    with pytest.raises(ModelError, match="is not finite"):
        grad_cam(tiny_clip, spots(1, 32), lambda embeddings: embeddings.sum(1) * torch.nan)
