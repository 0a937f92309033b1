"""M2IB written as plainly as possible, after clap.txt eq. 1 and the public code's way of doing it.

One image, one prompt at a time; the whole image encoder runs for every noise sample of every step, the text is
encoded anew in every step, and every weight has a gradient. It is the oracle of the fast path and the loop that the
benchmark compares with.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def reference_map(
    encode_image: Callable[[Tensor], Tensor],
    encode_text: Callable[[], Tensor],
    block: nn.Module,
    image: Tensor,
    noise: Tensor,
    beta: float,
    learning_rate: float = 1.0,
    initial_alpha: float = 5.0,
) -> Tensor:
    """Information kept per patch token (P,), class token dropped.

    Args:
        encode_image: (S, 3, side, side) to (S, D).
        encode_text: () to (1, D).
        block: the block whose output the bottleneck replaces.
        image: (1, 3, side, side), normalised.
        noise: (steps, samples, tokens, channels).
    """
    features = _output_of(block, lambda: encode_image(image)).detach()[0]
    alpha = nn.Parameter(torch.full_like(features, initial_alpha))
    optimiser = torch.optim.Adam([alpha], lr=learning_rate)
    for epsilon in noise:
        optimiser.zero_grad()
        keep = torch.sigmoid(alpha)

        def replaced(module: nn.Module, inputs: object, output: Tensor, keep: Tensor = keep, eps: Tensor = epsilon):
            return keep * output + (1 - keep) * eps

        handle = block.register_forward_hook(replaced)
        try:
            vectors = encode_image(image.repeat(len(epsilon), 1, 1, 1))
        finally:
            handle.remove()
        fit = torch.cosine_similarity(vectors, encode_text()).mean()
        loss = beta * _information(alpha, features).mean() - fit
        loss.backward()
        optimiser.step()
    return _information(alpha, features).sum(-1)[1:].detach()


def _information(alpha: Tensor, features: Tensor) -> Tensor:
    keep = torch.sigmoid(alpha)
    lost = torch.sigmoid(-alpha)
    return -0.5 * (1 + torch.log(lost**2) - (keep * features) ** 2 - lost**2)


def _output_of(block: nn.Module, run: Callable[[], object]) -> Tensor:
    seen: list[Tensor] = []
    handle = block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        run()
    finally:
        handle.remove()
    return seen[0]
