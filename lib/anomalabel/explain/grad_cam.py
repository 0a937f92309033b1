"""Grad-CAM and Grad-CAM++: which places of a layer pull an image's score up (section 4.7.2).

Grad-CAM (Selvaraju et al. 2017) weighs the channels of a layer by the mean gradient of the score, Grad-CAM++
(Chattopadhay et al. 2018) by its positive part, place by place; what remains above 0 of their weighted sum is the map.
The library `grad-cam` does it, on an image network of our own making: modules of its own, whose hooks no other thread
passes, around the weights of the shared model. No weight gets a gradient and nothing is left behind.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as functional
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus
from torch import Tensor, nn

from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.errors import ModelError
from anomalabel.explain.target_layer import Layer, target_layer
from anomalabel.volume import FloatArray

Variant = Literal["grad_cam", "grad_cam++"]

Score = Callable[[Tensor], Tensor]
"""Image embeddings (N, D) float32, not normalised, to scores (N,), differentiable; larger = more anomalous."""

METHODS: dict[Variant, type[GradCAM] | type[GradCAMPlusPlus]] = {"grad_cam": GradCAM, "grad_cam++": GradCAMPlusPlus}

PREFERRED_LAYERS: dict[Variant, Layer] = {"grad_cam": "tokens", "grad_cam++": "map"}
"""Where a network has both. Tokens are pooled almost linearly, which is what Grad-CAM assumes; Grad-CAM++ assumes
activations of at least 0, which convolutions followed by a rectifier have and tokens have not."""

LARGEST_GRADIENT = 1e6
"""To which gradients are scaled, see `grad_cam`."""


@dataclass(frozen=True)
class GradCam:
    """Of N images.

    Args:
        maps: (N, rows, columns) float32 on the layer's grid, at least 0, larger = pulls the score up more; not scaled,
            so that maps of one volume's slices compare. All 0 where nothing does.
        scores: (N,) float32.
    """

    maps: FloatArray
    scores: FloatArray


def text_score(model: ImageTextModel, positive: Sequence[str], negative: Sequence[str]) -> Score:
    """Logit of disease against health: scaled cosine to the disease texts minus that to the health texts.

    A side's vector is the mean of its texts' vectors.

    Raises:
        PromptError: a text is longer than the model reads.
    """
    sides = torch.stack([model.encode_texts(texts).mean(0) for texts in (positive, negative)])
    for_disease, for_health = functional.normalize(sides, dim=-1)
    direction = model.logit_scale * (for_disease - for_health)
    return lambda embeddings: functional.normalize(embeddings, dim=-1) @ direction


def grad_cam(
    model: ImageTextModel,
    images: Tensor,
    score: Score,
    variant: Variant = "grad_cam",
    layer: Layer | None = None,
) -> GradCam:
    """Explain the scores of images; may be called from several threads.

    Args:
        model: frozen; any image network that `target_layer` knows.
        images: (N, side, side) grey, in [0, 1].
        score: as `text_score` gives, or a head's; read for each image by itself.
        layer: "map" of the last convolutions or "tokens" of the last block; None takes the one that the network has,
            of both that of `PREFERRED_LAYERS`.

    Raises:
        ModelError: the network has no such layer, or answers with NaN or infinity.
    """
    target = target_layer(model.visual, layer, PREFERRED_LAYERS[variant])
    network = _with_own_hooks(model.visual)
    module = network.get_submodule(target.module)
    with torch.inference_mode(False), torch.enable_grad(), _cut(module) as outputs:
        method = METHODS[variant](_Scored(network, score), [module], target.to_maps)
        seen = method.activations_and_grads
        try:
            scores = seen(model.normalise(images.detach().clone()))
            torch.autograd.grad(scores.sum(), outputs)
            activations, gradients = seen.activations[0].numpy(), seen.gradients[0].numpy()
        finally:
            seen.release()
    # Both formulas stay as they are when activations shrink as gradients grow; the library's constant of 1e-6 in
    # Grad-CAM++ would otherwise outweigh the squared gradients of a cosine.
    largest = np.abs(gradients).max(axis=(1, 2, 3), keepdims=True).astype(np.float64)
    growth = LARGEST_GRADIENT / np.where(largest > 0, largest, LARGEST_GRADIENT)
    maps = method.get_cam_image(images, [], [], activations / growth, gradients * growth)
    if not (np.isfinite(maps).all() and torch.isfinite(scores).all()):
        raise ModelError(
            f"The explanation by the model {model.identity.name} is not finite.",
            "Run `anomalabel models check` on it, or pull it again.",
        )
    return GradCam(np.maximum(maps, 0).astype(np.float32), scores.detach().float().cpu().numpy())


class _Scored(nn.Module):
    """Normalised images to scores."""

    def __init__(self, network: nn.Module, score: Score) -> None:
        super().__init__()
        self.network = network
        self._score = score

    def forward(self, images: Tensor) -> Tensor:
        return self._score(self.network(images).float())


@contextmanager
def _cut(module: nn.Module) -> Iterator[list[Tensor]]:
    """Gradients begin at a module's output: what lies below it runs without. The list gets the outputs as they come."""
    outputs: list[Tensor] = []

    def begin(module: nn.Module, arguments: object, output: Tensor) -> Tensor:
        outputs.append(output.detach().requires_grad_())
        return outputs[-1]

    handle = module.register_forward_hook(begin)
    try:
        yield outputs
    finally:
        handle.remove()


def _with_own_hooks(network: nn.Module) -> nn.Module:
    """A network of new modules around the same weights: hooks on it do not touch the original."""
    weights = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, dict(weights))
