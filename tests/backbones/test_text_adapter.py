"""The medical language adapter: what it computes, its file, and the model that uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as functional
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.backbones.patch_encoders import patch_encoder_of
from anomalabel.backbones.text_adapter import (
    REACH,
    SCHEMA,
    TextAdapter,
    read_text_adapter,
    with_text_adapter,
    write_text_adapter,
)
from anomalabel.errors import ModelError, OutputError
from anomalabel.finding import ModelIdentity

TEXTS = ["normal brain", "glioma", "tumor of the brain"]


def learned(model: OpenClipModel, seed: int = 0, strength: float = 0.3) -> TextAdapter:
    """An adapter whose last layer is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    adapter = TextAdapter(16, 8, model.identity, generator)
    adapter.up.weight.data.copy_(strength * torch.randn(16, 8, generator=generator))
    adapter.up.bias.data.copy_(strength * torch.randn(16, generator=generator))
    return adapter


@pytest.fixture
def path(tiny_clip: OpenClipModel, tmp_path: Path) -> Path:
    """The file of a learned adapter."""
    write_text_adapter(learned(tiny_clip), tmp_path / "adapter.safetensors", {"seed": 0})
    return tmp_path / "adapter.safetensors"


def test_a_new_adapter_changes_nothing(tiny_clip: OpenClipModel) -> None:
    adapter = TextAdapter(16, 8, tiny_clip.identity, torch.Generator().manual_seed(0))
    vectors = tiny_clip.encode_texts(TEXTS)
    torch.testing.assert_close(adapter(vectors), vectors)
    (adapter(vectors)[0] @ vectors[1]).backward()
    assert adapter.up.weight.grad.abs().sum() > 0, "but it can learn"


def test_the_change_computed_by_hand() -> None:
    """One hidden unit: gelu(1) = 0.841345; its change is along the second axis."""
    adapter = TextAdapter(2, 1, ModelIdentity(name="two", weights_sha256="0"))
    adapter.down.weight.data.copy_(torch.tensor([[1.0, 0.0]]))
    adapter.up.weight.data.copy_(torch.tensor([[0.0], [0.5]]))
    change = 0.5 * 0.841345
    held = change / (1 + (change / 0.3) ** 2) ** 0.5
    expected = torch.tensor([[1.0, held]]) / (1 + held**2) ** 0.5
    torch.testing.assert_close(adapter(torch.tensor([[1.0, 0.0]])).detach(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("strength", [0.1, 10.0, 1e4])
def test_no_vector_turns_further_than_the_reach(tiny_clip: OpenClipModel, strength: float) -> None:
    vectors = functional.normalize(torch.randn(500, 16, generator=torch.Generator().manual_seed(1)), dim=-1)
    adapted = learned(tiny_clip, strength=strength)(vectors).detach()
    torch.testing.assert_close(adapted.norm(dim=-1), torch.ones(500))
    cosine = (adapted * vectors).sum(1)
    assert cosine.min() >= (1 - REACH**2) ** 0.5 - 1e-6
    assert cosine.min() < 0.9999


def test_a_model_with_an_adapter(tiny_clip: OpenClipModel) -> None:
    adapter = learned(tiny_clip)
    before = tiny_clip.encode_texts(TEXTS)
    model = with_text_adapter(tiny_clip, adapter)
    torch.testing.assert_close(model.encode_texts(TEXTS), adapter(before).detach())
    assert not torch.allclose(model.encode_texts(TEXTS), before, atol=1e-2)
    assert not model.encode_texts(TEXTS).is_inference()
    context = torch.randn(3, model.context_width, generator=torch.Generator().manual_seed(2)).requires_grad_()
    read = model.encode_with_context(TEXTS, context)
    torch.testing.assert_close(read, adapter(tiny_clip.encode_with_context(TEXTS, context)))
    read[:, 0].sum().backward()
    assert (context.grad.abs().sum(1) > 0).all()
    adapter.up.weight.data.zero_()
    assert not torch.allclose(model.encode_texts(TEXTS), before, atol=1e-2), "it keeps a copy"
    torch.testing.assert_close(tiny_clip.encode_texts(TEXTS), before, rtol=0, atol=0)


def test_everything_else_is_the_models_own(tiny_clip: OpenClipModel) -> None:
    model = with_text_adapter(tiny_clip, learned(tiny_clip))
    images = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(model.normalise(images), tiny_clip.normalise(images), rtol=0, atol=0)
    ours, theirs = (patch_encoder_of(one).patch_features(images) for one in (model, tiny_clip))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    for name in ("device", "dtype", "side", "tower", "logit_scale", "context_width"):
        assert getattr(model, name) == getattr(tiny_clip, name)
    assert model.unknown_words(["glioma xylophone"]) == ("xylophone",)
    assert model.spare_tokens("glioma") == tiny_clip.spare_tokens("glioma")
    torch.testing.assert_close(model.word_embeddings("glioma"), tiny_clip.word_embeddings("glioma"))


def test_the_identity_tells_models_and_adapters_apart(tiny_clip: OpenClipModel) -> None:
    plain = tiny_clip.identity
    same, also_same, other = (with_text_adapter(tiny_clip, learned(tiny_clip, seed)).identity for seed in (0, 0, 1))
    assert same == also_same
    assert len({plain.weights_sha256, same.weights_sha256, other.weights_sha256}) == 3
    assert same.name == "tiny+language-adapter"
    assert len(same.weights_sha256) == 64


def test_written_and_read(tiny_clip: OpenClipModel, path: Path) -> None:
    vectors = tiny_clip.encode_texts(TEXTS)
    loaded = read_text_adapter(path, tiny_clip.identity)
    torch.testing.assert_close(loaded(vectors), learned(tiny_clip)(vectors), rtol=0, atol=0)
    assert with_text_adapter(tiny_clip, loaded).identity == with_text_adapter(tiny_clip, learned(tiny_clip)).identity
    with safe_open(path, framework="pt") as stored:
        metadata = stored.metadata()
    assert metadata["schema"] == SCHEMA
    assert (metadata["model"], metadata["weights_sha256"]) == ("tiny", tiny_clip.identity.weights_sha256)
    assert json.loads(metadata["training"]) == {"seed": 0}
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    beside = path.with_suffix(".txt")
    beside.touch()
    assert path.stat().st_mode == beside.stat().st_mode, "others may read it as they may any new file"


def test_a_renamed_model_is_the_same_model(tiny_clip: OpenClipModel, path: Path) -> None:
    read_text_adapter(path, ModelIdentity(name="moved", weights_sha256=tiny_clip.identity.weights_sha256))


def test_the_adapter_of_another_model_is_refused(tiny_clip: OpenClipModel, path: Path) -> None:
    other = ModelIdentity(name="other", weights_sha256="ab" * 32)
    with pytest.raises(ModelError, match=r"adapter\.safetensors belongs to tiny with weights .*, not to other with"):
        read_text_adapter(path, other)
    adapter = TextAdapter(16, 8, other)
    with pytest.raises(ModelError, match="belongs to other with weights abababababab, not to tiny"):
        with_text_adapter(tiny_clip, adapter)


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def damage_text(path: Path) -> None:
    path.write_text("no adapter")


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def damage_missing(path: Path) -> None:
    path.unlink()


def rewrite(path: Path, change) -> None:
    weights = load_file(path)
    with safe_open(path, framework="pt") as stored:
        metadata = stored.metadata()
    change(weights, metadata)
    save_file(weights, path, metadata)


def damage_schema(path: Path) -> None:
    rewrite(path, lambda weights, metadata: metadata.update(schema="anomalabel.text_adapter/0"))


def damage_layer(path: Path) -> None:
    rewrite(path, lambda weights, metadata: weights.pop("up.bias"))


def damage_shape(path: Path) -> None:
    rewrite(path, lambda weights, metadata: weights.update({"down.weight": torch.ones(3)}))


def damage_number(path: Path) -> None:
    rewrite(path, lambda weights, metadata: weights["up.bias"].fill_(float("nan")))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (damage_cut, "cannot be read"),
        (damage_text, "cannot be read"),
        (damage_empty, "cannot be read"),
        (damage_folder, "There is no language adapter"),
        (damage_missing, "There is no language adapter"),
        (damage_schema, r"no language adapter of this version \(anomalabel.text_adapter/0"),
        (damage_layer, "does not hold the layers"),
        (damage_shape, "does not hold the layers"),
        (damage_number, "not finite"),
    ],
)
def test_damaged_files(tiny_clip: OpenClipModel, path: Path, damage, complaint: str) -> None:
    damage(path)
    with pytest.raises(ModelError, match=complaint) as told:
        read_text_adapter(path, tiny_clip.identity)
    assert "anomalabel train language-adapter" in told.value.remedy


def test_what_cannot_be_written_leaves_the_old_file(tiny_clip: OpenClipModel, path: Path, monkeypatch) -> None:
    before = path.read_bytes()

    def fill_disk(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fill_disk)
    with pytest.raises(OutputError, match="No space left"):
        write_text_adapter(learned(tiny_clip, seed=5), path, {})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with pytest.raises(OutputError, match="cannot be written"):
        write_text_adapter(learned(tiny_clip), path.parent / "nowhere" / "adapter.safetensors", {})
