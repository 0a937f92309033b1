from __future__ import annotations

import open_clip
import torch

from anomalabel.training.initialisation import initialise_for_few_images, sine_cosine_positions


def test_positions_have_unit_circles_and_tell_places_apart() -> None:
    positions = sine_cosine_positions((3, 4), 16)
    assert positions.shape == (12, 16)
    torch.testing.assert_close((positions**2).sum(1), torch.full((12,), 8.0))
    assert torch.cdist(positions, positions).fill_diagonal_(1).min() > 0.1


def test_tokens_attend_to_similar_ones_from_the_start() -> None:
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 2, "width": 48, "head_width": 16, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 99, "width": 16, "heads": 1, "layers": 1}
    visual = open_clip.CustomTextCLIP(embed_dim=8, vision_cfg=vision, text_cfg=text).visual
    initialise_for_few_images(visual)
    attention = visual.transformer.resblocks[0].attn
    query, key, value = attention.in_proj_weight.split(48)
    assert (query[:16].T @ key[:16]).trace() > 5, "about the identity, of rank 16"
    assert (attention.out_proj.weight @ value).trace() < -10, "about minus the identity"
