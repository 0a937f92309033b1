"""Learned vectors in place of words, in each kind of text tower."""

from __future__ import annotations

import threading
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as functional

from anomalabel.backbones.embedded_model import EmbeddedModel, EmbeddedSettings
from anomalabel.backbones.hybrid import HybridSettings
from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.backbones.loading import load_model
from anomalabel.errors import ModelError, PromptError
from anomalabel.finding import ModelIdentity
from anomalabel.training.tokenizer import learn_merges, vocabulary_size, write_merges

KINDS = ["embedded", "clip", "clip both ways", "bert"]
WORDS = "normal brain of the healthy"
REST = "gray matter, glioma."


def embedded(folder: Path) -> OpenClipModel:
    merges = learn_merges(["normal", "brain", "healthy", "glioma"], 60)
    write_merges(folder / "merges.txt.gz", merges)
    image = HybridSettings(64, "resnet10t", depth=3, heads=4, embedding=16, feature_channels=(5, 7))
    settings = EmbeddedSettings(
        image, vocabulary_size(merges), context_length=80, text_width=32, text_heads=2, text_layers=2
    )
    tokenizer = open_clip.SimpleTokenizer(bpe_path=str(folder / "merges.txt.gz"), context_length=80)
    return named(EmbeddedModel(settings), tokenizer)


def clip(both_ways: bool) -> OpenClipModel:
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 40, "vocab_size": 49408, "width": 24, "heads": 2, "layers": 2}
    tokenizer = open_clip.SimpleTokenizer(context_length=40)
    if not both_ways:
        return named(open_clip.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text), tokenizer)
    text = text | {"no_causal_mask": True}
    return named(open_clip.CustomTextCLIP(embed_dim=16, vision_cfg=vision, text_cfg=text), tokenizer)


def named(network, tokenizer) -> OpenClipModel:
    """Every parameter random: tokens, places and blocks all matter."""
    for parameter in network.parameters():
        parameter.data.normal_(std=0.3)
    return OpenClipModel(network, tokenizer, ModelIdentity(name="small", weights_sha256="0" * 64), torch.device("cpu"))


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, biomedclip_folder: Path, tmp_path_factory) -> OpenClipModel:
    torch.manual_seed(0)
    if request.param == "embedded":
        return embedded(tmp_path_factory.mktemp("embedded"))
    if request.param == "bert":
        return load_model(str(biomedclip_folder), "cpu", "float32")
    return clip(request.param.endswith("ways"))


def words_as_context(model: OpenClipModel, text: str) -> torch.Tensor:
    """Looked up in the tower's table by hand."""
    network = model._model
    tower = network if isinstance(network, open_clip.CLIP) else network.text
    if hasattr(tower, "token_embedding"):
        return tower.token_embedding.weight[model._tokenizer.encode(text)]
    codes = model._tokenizer([text])[0]
    return tower.transformer.embeddings.word_embeddings.weight[codes[1 : int((codes != 0).sum()) - 1]]


def test_embeddings_of_real_words_give_the_sentence_with_those_words(model: OpenClipModel) -> None:
    context = words_as_context(model, WORDS)
    assert len(context) >= 5
    with torch.no_grad():
        read = model.encode_with_context([REST, "glioma"], context)
    written = model.encode_texts([f"{WORDS} {REST}", f"{WORDS} glioma"])
    torch.testing.assert_close(read, written, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(read, model.encode_texts([REST, "glioma"]), atol=1e-2)
    torch.testing.assert_close(model.word_embeddings(WORDS), context)
    assert model.context_width == context.shape[1]


def test_each_text_may_have_context_of_its_own(model: OpenClipModel) -> None:
    first, second = words_as_context(model, "normal brain"), words_as_context(model, "brain normal")
    with torch.no_grad():
        read = model.encode_with_context([REST, REST], torch.stack([first, second]))
    written = model.encode_texts([f"normal brain {REST}", f"brain normal {REST}"])
    torch.testing.assert_close(read, written, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(read[0], read[1], atol=1e-4)


def test_without_context_the_text_is_as_it_was(model: OpenClipModel) -> None:
    texts = ["glioma of the brain", "normal", REST]
    with torch.no_grad():
        read = model.encode_with_context(texts, torch.empty(0, model.context_width))
    torch.testing.assert_close(read, model.encode_texts(texts), rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_differences_and_the_weights_have_none(model: OpenClipModel) -> None:
    generator = torch.Generator().manual_seed(1)
    context = words_as_context(model, "normal brain of").detach().clone()
    towards = torch.randn(2, len(model.encode_texts(["brain"])[0]), generator=generator)

    def score(vectors: torch.Tensor) -> torch.Tensor:
        return (model.encode_with_context(["glioma", "brain"], vectors) * towards).sum()

    learning = context.clone().requires_grad_()
    score(learning).backward()
    step = 3e-3
    for _ in range(4):
        direction = functional.normalize(torch.randn(context.shape, generator=generator), dim=-1)
        with torch.no_grad():
            slope = (score(context + step * direction) - score(context - step * direction)) / (2 * step)
        assert float((learning.grad * direction).sum()) == pytest.approx(float(slope), rel=0.02, abs=2e-3)
    assert (learning.grad.abs().sum(1) > 1e-4).all(), "every learned vector counts"
    assert all(parameter.grad is None for parameter in model._model.parameters())


def test_another_thread_reads_plain_texts_meanwhile(model: OpenClipModel) -> None:
    texts = ["glioma of the brain", "normal brain"]
    before = model.encode_texts(texts)
    context = torch.randn(4, model.context_width, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        alone = model.encode_with_context(texts, context)
    ours, meanwhile = threading.get_ident(), []

    def read_elsewhere(module, arguments, output) -> None:
        if threading.get_ident() == ours and not meanwhile:
            thread = threading.Thread(target=lambda: meanwhile.append(model.encode_texts(texts)))
            thread.start()
            thread.join()

    hook = model._contexts._embedding.register_forward_hook(read_elsewhere)
    try:
        with torch.no_grad():
            interrupted = model.encode_with_context(texts, context)
    finally:
        hook.remove()
    torch.testing.assert_close(meanwhile[0], before, rtol=0, atol=0)
    torch.testing.assert_close(interrupted, alone, rtol=0, atol=0)
    torch.testing.assert_close(model.encode_texts(texts), before, rtol=0, atol=0)


def test_context_and_words_up_to_the_last_place(model: OpenClipModel) -> None:
    spare = model.spare_tokens("glioma")
    plain = words_as_context(model, "brain")[:1]
    with torch.no_grad():
        longest = model.encode_with_context(["glioma"], plain.expand(spare, -1))
    if len(words_as_context(model, "brain")) == 1:
        written = model.encode_texts(["brain " * spare + "glioma"])
        torch.testing.assert_close(longest, written, rtol=1e-4, atol=1e-5)
    with pytest.raises(PromptError, match=f"{spare + 1} of them learned.*learn fewer tokens"):
        model.encode_with_context(["glioma"], plain.expand(spare + 1, -1))
    assert model.spare_tokens("glioma " * 400) < 0


def test_an_error_inside_leaves_nothing_behind(model: OpenClipModel) -> None:
    before = model.encode_texts(["glioma"])

    def fail(module, arguments, output) -> None:
        raise RuntimeError("out of memory")

    hook = model._contexts._embedding.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        model.encode_with_context(["glioma"], torch.ones(2, model.context_width))
    hook.remove()
    torch.testing.assert_close(model.encode_texts(["glioma"]), before, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(4, 7), (3, 4, 0), (4,), (1, 2, 4, 0)])
def test_context_of_another_tower_is_refused(model: OpenClipModel, shape: tuple[int, ...]) -> None:
    context = torch.zeros([length or model.context_width for length in shape] or shape)
    with pytest.raises(ModelError, match="does not fit 2 texts"):
        model.encode_with_context(["glioma", "normal"], context)


def test_no_more_tokens_are_computed_than_needed(model: OpenClipModel, request: pytest.FixtureRequest) -> None:
    seen = []
    hook = model._contexts._embedding.register_forward_hook(lambda module, arguments, output: seen.append(output))
    with torch.no_grad():
        model.encode_with_context(["brain", "glioma"], torch.zeros(3, model.context_width))
    hook.remove()
    used = int(model._tokenizer.context_length) - min(model.spare_tokens(text) for text in ("brain", "glioma")) + 3
    kind = request.node.callspec.params["model"]
    assert seen[0].shape[1] == (used if kind in ("embedded", "bert") else 40)
