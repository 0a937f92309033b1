"""The head: what it says untrained, what its statistics are, and its logit by a slow loop."""

from __future__ import annotations

import math

import pytest
import torch

from anomalabel.config import FewShotSettings
from anomalabel.errors import ConfigError
from anomalabel.localization.few_shot.grid import grid_features
from anomalabel.localization.few_shot.head import FewShotHead, HeadShape

CHANNELS, TEXT_LEVEL, EMBEDDING = (5, 6, 4), 2, 4


def shape(text_level=TEXT_LEVEL, **values):
    return HeadShape.of(CHANNELS, text_level, EMBEDDING, FewShotSettings.model_validate(values))


def head(seed=0, **values):
    return FewShotHead(shape(**values), torch.Generator().manual_seed(seed))


def cosine(first, second):
    return float((first @ second / first.norm() / second.norm()).detach())


def test_an_untrained_head_says_of_the_texts_level_what_the_encoder_says(slices):
    features = grid_features(slices(0))
    made = head()
    vectors = made.vectors(made.scaled(features), features.seen)
    assert torch.equal(vectors[TEXT_LEVEL], features.levels[TEXT_LEVEL])
    assert [tuple(one.shape) for one in vectors] == [(2, 12, EMBEDDING)] * 3


def test_the_logit_is_the_mean_over_levels_of_the_difference_of_similarities(slices):
    features = grid_features(slices(1))
    generator = torch.Generator().manual_seed(3)
    healthy, diseased = torch.randn(3, 4, generator=generator), torch.randn(2, 4, generator=generator)
    made = head()
    made.adapters["2"].weight.data.normal_(generator=generator)
    made.measure(features)

    def unit(vector):
        return vector / vector.norm()

    def class_of(texts):
        return unit(torch.stack([unit(one) for one in texts]).mean(0))

    got = made(made.scaled(features), features.seen, healthy, diseased, 0.2)
    for slice_number in range(2):
        for patch in range(12):
            each = []
            for level in range(3):
                feature = features.levels[level][slice_number, patch]
                scaled = (feature - getattr(made, f"mean_{level}")) / getattr(made, f"deviation_{level}")
                vector = made.adapters[str(level)].weight @ scaled + (scaled if level == TEXT_LEVEL else 0)
                each.append((cosine(vector, class_of(diseased)) - cosine(vector, class_of(healthy))) / 0.2)
            assert float(got[slice_number, patch].detach()) == pytest.approx(sum(each) / 3, abs=1e-5)


def test_statistics_come_from_seen_patches_and_leave_the_texts_level_alone(slices):
    several = slices(2)
    for one in several:
        for level in one.levels:
            level[:, ~torch.from_numpy(one.seen)] = 1e6
    features = grid_features(several)
    made = head()
    made.measure(features)
    scaled = made.scaled(features)
    for level in (0, 1):
        seen = scaled[level][features.seen]
        torch.testing.assert_close(seen.mean(0), torch.zeros(CHANNELS[level]), atol=1e-5, rtol=0)
        assert math.sqrt(float(seen.square().mean())) == pytest.approx(1, abs=1e-5)
    assert torch.equal(scaled[TEXT_LEVEL], features.levels[TEXT_LEVEL])


def test_equal_patches_everywhere_do_not_divide_by_zero(slices):
    several = slices(2)
    for one in several:
        for level in one.levels:
            level[:] = 1.0
    features = grid_features(several)
    made = head()
    made.measure(features)
    assert all(torch.isfinite(level).all() for level in made.scaled(features))


def test_without_adapters_only_the_texts_level_counts(slices):
    features = grid_features(slices(0))
    made = head(alignment=False, prompts={"enabled": True})
    assert list(made.parameters()) == []
    assert made.used_levels == (TEXT_LEVEL,)
    (vectors,) = made.vectors(made.scaled(features), features.seen)
    assert torch.equal(vectors, features.levels[TEXT_LEVEL])


def test_refinement_sits_behind_the_adapters_and_learns(slices):
    features = grid_features(slices(0))
    plain, refined = head(), head(refinement={"enabled": True, "queries": 2, "heads": 2})
    assert plain.shape.queries == 0
    assert (refined.shape.queries, refined.shape.heads) == (2, 2)
    extra = {name for name, _ in refined.named_parameters()} - {name for name, _ in plain.named_parameters()}
    assert extra
    assert all(name.startswith("refinement.") for name in extra)
    refined.vectors(refined.scaled(features), features.seen)[0].square().sum().backward()
    assert any(value.grad.abs().sum() > 0 for name, value in refined.named_parameters() if name in extra)


def test_first_weights_come_from_the_generator_alone():
    torch.manual_seed(1)
    first = head(7).state_dict()
    torch.manual_seed(2)
    again, other = head(7).state_dict(), head(8).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["adapters.0.weight"], other["adapters.0.weight"])


def test_an_encoder_without_texts_needs_adapters(slices):
    with pytest.raises(ConfigError, match=r"No level of this encoder lives in the texts' space.*alignment"):
        shape(text_level=None, alignment=False, prompts={"enabled": True})
    made = FewShotHead(shape(text_level=None), torch.Generator().manual_seed(0))
    assert made.used_levels == (0, 1, 2)
    features = grid_features(slices(0))
    made.measure(features)
    assert made.mean_2.abs().sum() > 0
    assert made.adapters["2"].weight.abs().sum() > 0
