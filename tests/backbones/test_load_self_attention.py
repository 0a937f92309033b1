"""Which self-attention a name stands for, and what stands in where weights cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from anomalabel.backbones import load_self_attention as loading
from anomalabel.backbones.encoders import GivenEncoders
from anomalabel.backbones.load_self_attention import load_self_attention
from anomalabel.backbones.self_attention import ClassTokenAttention, ModelSelfAttention
from anomalabel.errors import ModelError

SMALL = "test_vit"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The weights file of a random network, as timm writes them."""
    torch.manual_seed(5)
    save_file(timm.create_model(SMALL).state_dict(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """What is found of published weights; nothing, until a test puts it there."""
    found: list[Path | None] = [None]
    monkeypatch.setattr(loading, "find_timm_weights", lambda network: found[0])
    return found


def images(side: int) -> torch.Tensor:
    return torch.rand(2, side, side, generator=torch.Generator().manual_seed(1))


def test_weights_at_hand_are_taken(tiny_clip, weights, at_hand):
    at_hand[0] = weights
    loaded = load_self_attention(f"timm:{SMALL}", GivenEncoders(tiny_clip))
    assert (loaded.name, loaded.missing) == (f"timm:{SMALL}", None)
    expected = ClassTokenAttention(SMALL, weights)
    assert loaded.encoder.identity == expected.identity
    torch.testing.assert_close(loaded.encoder.patch_features(images(160)), expected.patch_features(images(160)))


@pytest.mark.parametrize("place", ["file", "folder"])
def test_weights_at_a_place_are_taken_and_named_again(tiny_clip, weights, place):
    name = f"timm:{SMALL}@{weights if place == 'file' else weights.parent}"
    loaded = load_self_attention(name, GivenEncoders(tiny_clip))
    again = load_self_attention(loaded.name, GivenEncoders(tiny_clip), stand_in=False)
    assert loaded.name == name
    assert loaded.encoder.identity == again.encoder.identity == ClassTokenAttention(SMALL, weights).identity


def test_the_models_own_stands_in_and_is_loaded_by_the_name_it_gave(tiny_clip, at_hand, caplog):
    loaded = load_self_attention(f"timm:{SMALL}", GivenEncoders(tiny_clip))
    assert (loaded.name, loaded.missing) == ("tiny", SMALL)
    assert "weights of the timm network test_vit cannot be had; the attention of tiny stands in" in caplog.text
    at_hand[0] = Path("weights that came later")
    again = load_self_attention(loaded.name, GivenEncoders(tiny_clip), stand_in=False)
    assert again.missing is None
    assert loaded.encoder.identity == again.encoder.identity == ModelSelfAttention(tiny_clip).identity
    torch.testing.assert_close(loaded.encoder.patch_features(images(32)), again.encoder.patch_features(images(32)))


def test_another_models_name_loads_that_model(tiny_clip, biomedclip_folder):
    loaded = load_self_attention(str(biomedclip_folder), GivenEncoders(tiny_clip))
    assert loaded.encoder.identity.name == "class-token self-attention of snapshot"
    assert loaded.name == str(biomedclip_folder)
    (level,) = loaded.encoder.patch_features(images(224))
    assert level.shape == (2, 1, 14, 14)


def test_errors_say_what_to_do(tiny_clip, at_hand, tmp_path):
    encoders = GivenEncoders(tiny_clip)
    with pytest.raises(ModelError, match=r"weights of the timm network test_vit are not here.*Hugging Face cache"):
        load_self_attention(f"timm:{SMALL}", encoders, stand_in=False)
    with pytest.raises(ModelError, match="There is no weights file"):
        load_self_attention(f"timm:{SMALL}@{tmp_path / 'missing.pth'}", encoders)
    with pytest.raises(ModelError, match="There is no model 'nothing'"):
        load_self_attention("nothing", encoders)
    with pytest.raises(ModelError, match="reads no text"):
        load_self_attention(f"timm:{SMALL}", GivenEncoders())


def test_unknown_networks_are_an_error_and_no_reason_to_stand_in(tiny_clip):
    with pytest.raises(ModelError, match="timm knows no network 'nothing'"):
        load_self_attention("timm:nothing", GivenEncoders(tiny_clip))
