"""Text-driven attention of an image encoder by an information bottleneck (M2IB; clap.txt eq. 1).

Noise is mixed into the tokens after one block until only what the text needs is left; the information that each
token keeps is the attention. Blocks below the bottleneck run once; images, prompts and noise samples above it run
as one batch; no weight has a gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.towers import check_layer
from anomalabel.config import AttentionSettings

IMAGES_A_PASS = 64
"""Noisy images that go through the tower together; more samples take more passes, not more memory."""


def draw_noise(settings: AttentionSettings, tokens: int, channels: int, seed: int) -> Tensor:
    """The bottleneck's noise (steps, samples, tokens, channels), standard normal, on the CPU.

    The same noise serves every image and every prompt of a run, so that a map depends neither on the batch an image
    falls into nor on the other prompts. Antithetic noise comes in pairs of opposite sign.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = settings.samples // 2 if settings.antithetic else settings.samples
    noise = torch.randn(settings.steps, drawn, tokens, channels, generator=generator)
    return torch.cat([noise, -noise], dim=1) if settings.antithetic else noise


def attention_maps(
    model: ImageTextModel, images: Tensor, texts: Tensor, settings: AttentionSettings, noise: Tensor
) -> Tensor:
    """Information kept per patch for each text.

    Args:
        model: frozen image-text model.
        images: (N, side, side) grey, in [0, 1].
        texts: (P, D) unit vectors, one per prompt (or per ensemble of prompts).
        settings: layer, beta, steps, learning rate; `samples` must agree with `noise`.
        noise: (steps, samples, tokens, channels) as `draw_noise` gives.

    Returns:
        (P, N, rows, columns) float32 in nats, not scaled; larger = the text needs this patch more.

    Raises:
        ModelError: the layer does not fit the model.
    """
    tower = model.tower
    check_layer(tower, settings.layer)
    with torch.inference_mode():
        features = tower.tokens_after(model.normalise(images), settings.layer)
    features = features.clone().float()
    kept = _optimise(model, features, texts.to(model.device), settings, noise.to(model.device))
    information = _information(kept, features).sum(-1)
    return information[..., tower.prefix_tokens :].unflatten(-1, tower.grid)


def _optimise(
    model: ImageTextModel, features: Tensor, texts: Tensor, settings: AttentionSettings, noise: Tensor
) -> Tensor:
    """The optimised alpha (P, N, T, C) of features (N, T, C).

    The loss is beta * mean(KL) - mean cosine, summed over prompts and images.
    """
    shape = (len(texts), *features.shape)
    alpha = torch.full(shape, settings.initial_alpha, device=model.device, requires_grad=True)
    optimiser = torch.optim.Adam([alpha], lr=settings.learning_rate)
    samples_a_pass = max(IMAGES_A_PASS // (len(texts) * len(features)), 1)
    for step_noise in noise:
        with torch.enable_grad():
            compression = settings.beta * _information(alpha, features).mean(dim=(-2, -1)).sum()
            (gradient,) = torch.autograd.grad(compression, alpha)
            for pass_noise in step_noise.split(samples_a_pass):
                cosine = _cosine(model, alpha, features, texts, settings.layer, pass_noise).sum() / len(step_noise)
                gradient -= torch.autograd.grad(cosine, alpha)[0]
        alpha.grad = gradient
        optimiser.step()
    return alpha.detach()


def _cosine(model: ImageTextModel, alpha: Tensor, features: Tensor, texts: Tensor, layer: int, noise: Tensor) -> Tensor:
    """Cosine (P, S, N) of each text and the image that is left when noise (S, T, C) is mixed in."""
    kept = torch.sigmoid(alpha)[:, None]
    mixed = kept * features[None, None] + (1 - kept) * noise[None, :, None]
    vectors = model.tower.embed_from(mixed.flatten(0, 2).to(model.dtype), layer).float()
    return functional.cosine_similarity(
        vectors.unflatten(0, mixed.shape[:3]), texts[:, None, None].expand(*mixed.shape[:3], -1), dim=-1
    )


def _information(alpha: Tensor, features: Tensor) -> Tensor:
    """KL of the mixed token's distribution from the noise's, per element; alpha (P, N, T, C), features (N, T, C)."""
    kept = torch.sigmoid(alpha)
    noise_variance = torch.sigmoid(-alpha) ** 2
    log_variance = 2 * functional.logsigmoid(-alpha)
    return -0.5 * (1 + log_variance - (kept * features) ** 2 - noise_variance)
