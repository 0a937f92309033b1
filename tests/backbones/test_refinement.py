"""Token refinement: nothing untrained, a slow reference trained, and what no body hides."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as functional

from anomalabel.backbones.refinement import TokenRefinement
from anomalabel.errors import ConfigError

CHANNELS, QUERIES, HEADS = 8, 3, 2


def refinement(trained: bool = True, seed: int = 0) -> TokenRefinement:
    generator = torch.Generator().manual_seed(seed)
    module = TokenRefinement(CHANNELS, QUERIES, HEADS, generator)
    if trained:
        torch.nn.init.normal_(module.output.weight, generator=generator)
        torch.nn.init.normal_(module.output.bias, generator=generator)
    return module.requires_grad_(False)


@pytest.fixture
def tokens() -> torch.Tensor:
    return 3 * torch.randn(2, 5, CHANNELS, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def seen() -> torch.Tensor:
    return torch.tensor([[True, False, True, True, False], [False, True, True, False, True]])


def levelled(vector: torch.Tensor) -> torch.Tensor:
    """A vector without mean and with deviation 1, as a layer norm without weights makes it."""
    return (vector - vector.mean()) / (vector.var(correction=0) + 1e-5).sqrt()


def attended(query: torch.Tensor, keys: list, values: list) -> tuple[torch.Tensor, torch.Tensor]:
    """One query (C,) over keys and values, head by head; also the mean of the heads' weights."""
    width, parts, shares = CHANNELS // HEADS, [], torch.zeros(len(keys))
    for head in range(HEADS):
        of_head = slice(head * width, (head + 1) * width)
        exponentials = [math.exp(float(query[of_head] @ key[of_head]) / math.sqrt(width)) for key in keys]
        weights = [value / sum(exponentials) for value in exponentials]
        parts.append(sum(weight * value[of_head] for weight, value in zip(weights, values, strict=True)))
        shares += torch.tensor(weights) / HEADS
    return torch.cat(parts), shares


def reference(module: TokenRefinement, tokens: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    refined = tokens.clone()
    for number, image in enumerate(tokens):
        body = [patch for patch, inside in zip(image, seen[number], strict=True) if inside]
        gathered = [attended(query, [levelled(patch) for patch in body], body)[0] for query in module.queries]
        keys = [module.read_key.weight @ levelled(one) for one in gathered]
        for place in seen[number].nonzero()[:, 0]:
            query = module.read_query.weight @ levelled(image[place])
            read, _ = attended(query, keys, gathered)
            refined[number, place] = image[place] + module.output.weight @ read + module.output.bias
    return refined


def test_untrained_it_changes_nothing_at_all(tokens, seen):
    module = refinement(trained=False)
    assert torch.equal(module(tokens), tokens)
    assert torch.equal(module(tokens, seen), tokens)


def test_trained_it_is_the_slow_reference(tokens, seen):
    module = refinement()
    everything = torch.ones_like(seen)
    torch.testing.assert_close(module(tokens), reference(module, tokens, everything), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(module(tokens, seen), reference(module, tokens, seen), rtol=1e-4, atol=1e-4)


def test_what_is_gathered_is_equation_6(tokens, seen):
    module = refinement()
    gathered, attention = module.gather(tokens, seen)
    assert gathered.shape == (2, QUERIES, CHANNELS)
    assert attention.shape == (2, QUERIES, 5)
    body = list(tokens[1, seen[1]])
    expected, shares = attended(module.queries[2], [levelled(patch) for patch in body], body)
    torch.testing.assert_close(gathered[1, 2], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(attention[1, 2, seen[1]], shares, rtol=1e-4, atol=1e-5)
    assert attention[~seen[:, None].expand_as(attention)].abs().max() == 0
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, QUERIES))


def test_patches_without_body_neither_give_nor_take(tokens, seen):
    module = refinement()
    changed = torch.where(seen[..., None], tokens, 1e6 * torch.ones_like(tokens))
    before, after = module(tokens, seen), module(changed, seen)
    assert torch.equal(before[seen], after[seen])
    assert torch.equal(after[~seen], changed[~seen])
    assert float((before[seen] - tokens[seen]).abs().min()) > 0


def test_an_image_without_body_stays_as_it_is(tokens):
    module = refinement()
    nothing = torch.zeros(2, 5, dtype=torch.bool)
    assert torch.equal(module(tokens, nothing), tokens)
    gathered, attention = module.gather(tokens, nothing)
    assert float(gathered.abs().max()) == float(attention.abs().max()) == 0


def test_the_same_generator_draws_the_same_weights(tokens):
    first, again, other = (refinement(seed=seed)(tokens) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_heads_that_do_not_divide_the_channels():
    with pytest.raises(ConfigError, match=r"3 attention heads do not divide tokens of 8 channels.*refinement\.heads"):
        TokenRefinement(8, 4, 3)


def test_a_short_fit_tells_every_patch_what_one_of_them_knows():
    """One patch, anywhere, is marked with one of two signs; every patch is to move by the sign of its image."""
    generator = torch.Generator().manual_seed(0)
    module = TokenRefinement(CHANNELS, 4, HEADS, generator)
    mark, move = torch.randn(2, CHANNELS, generator=generator)

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = 0.3 * torch.randn(count, 16, CHANNELS, generator=generator)
        sign = torch.randint(0, 2, (count, 1), generator=generator) * 2.0 - 1
        tokens[torch.arange(count), torch.randint(0, 16, (count,), generator=generator)] += 4 * sign * mark
        return tokens, tokens + (sign * move)[:, None]

    optimiser = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(200):
        tokens, wanted = draw(32)
        optimiser.zero_grad()
        functional.mse_loss(module(tokens), wanted).backward()
        optimiser.step()
    tokens, wanted = draw(200)
    with torch.inference_mode():
        left = functional.mse_loss(module(tokens), wanted) / functional.mse_loss(tokens, wanted)
    assert float(left) < 0.1
