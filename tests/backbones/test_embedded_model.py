"""The embedded model from folder to detector, and what is said about damaged folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from anomalabel.attention.information_bottleneck import attention_maps, draw_noise
from anomalabel.backbones.check import check_model
from anomalabel.backbones.embedded_model import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    EmbeddedModel,
    EmbeddedSettings,
    is_embedded_folder,
    load_embedded,
    read_settings,
    save_embedded,
)
from anomalabel.backbones.hybrid import HybridSettings
from anomalabel.backbones.loading import MERGES_FILE, VOCABULARY_FILE, load_model
from anomalabel.config import AttentionSettings, load_config
from anomalabel.detectors import ClapDetector
from anomalabel.errors import ModelError, PromptError
from anomalabel.finding import PromptTexts
from anomalabel.preprocessing.prepare import prepare_volume
from anomalabel.preprocessing.slices import slice_positions
from anomalabel.training.tokenizer import learn_merges, vocabulary_size, write_merges
from anomalabel.volume import Volume

WORDS = ("glioma", "normal", "healthy", "brain")
ATTENTION = AttentionSettings(layer=1, beta=0.1, steps=3)


@pytest.fixture(scope="module")
def model() -> EmbeddedModel:
    torch.manual_seed(0)
    image = HybridSettings(64, "resnet10t", depth=3, heads=4, embedding=16, feature_channels=(5, 7))
    size = vocabulary_size(learn_merges(WORDS, 20))
    settings = EmbeddedSettings(image, size, context_length=32, text_width=32, text_heads=2, text_layers=1)
    network = EmbeddedModel(settings)
    network.visual(torch.randn(4, 3, 64, 64))
    return network.eval()


@pytest.fixture(scope="module")
def shared_folder(model: EmbeddedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    folder.mkdir()
    save_embedded(model, folder)
    write_merges(folder / MERGES_FILE, learn_merges(WORDS, 20))
    (folder / VOCABULARY_FILE).write_text(json.dumps(WORDS))
    return folder


@pytest.fixture
def folder(shared_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(shared_folder, tmp_path / "copied"))


def test_a_saved_model_comes_back_within_half_precision(model: EmbeddedModel, shared_folder: Path) -> None:
    assert is_embedded_folder(shared_folder)
    assert not is_embedded_folder(shared_folder.parent)
    assert read_settings(shared_folder) == model.settings
    loaded = load_embedded(shared_folder).eval()
    assert {name: value.dtype for name, value in loaded.state_dict().items()} == {
        name: value.dtype for name, value in model.state_dict().items()
    }
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=2**-11, atol=2**-24)
    assert loaded.visual.trunk["bn1"].num_batches_tracked == 1, "counters are not rounded"
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded.visual(pixels), model.visual(pixels), rtol=0.02, atol=0.02)


def test_weights_are_stored_in_half_precision(shared_folder: Path) -> None:
    stored = load_file(shared_folder / WEIGHTS_FILE)
    assert {value.dtype for value in stored.values()} == {torch.float16, torch.int64}
    assert not any("position" in name and "scale" not in name and name.startswith("visual") for name in stored)


def test_the_package_loads_it_with_its_words(model: EmbeddedModel, shared_folder: Path) -> None:
    loaded = load_model(str(shared_folder), "cpu", "float32")
    assert (loaded.side, loaded.tower.grid, loaded.tower.depth) == (64, (4, 4), 3)
    assert loaded.logit_scale == pytest.approx(10, rel=1e-3)
    assert loaded.identity.name == "small"
    assert loaded.unknown_words(["Glioma of the brain"]) == ("of", "the")
    vectors = loaded.encode_texts(["glioma", "normal brain"])
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2))
    assert vectors[0] @ vectors[1] < 0.9999
    assert loaded.encode_texts(["brain " * 30]).shape == (1, 16)
    with pytest.raises(PromptError, match="33 tokens; the text tower of small reads 32"):
        loaded.encode_texts(["brain " * 31])


def test_image_and_text_towers_are_those_that_were_saved(model: EmbeddedModel, shared_folder: Path) -> None:
    loaded = load_model(str(shared_folder), "cpu", "float32")
    images = torch.rand(2, 64, 64)
    layer = loaded.tower.depth - 1
    with torch.no_grad():
        ours = loaded.tower.embed_from(loaded.tower.tokens_after(loaded.normalise(images), layer), layer)
        expected = model.visual(model.visual.normalise(images))
    torch.testing.assert_close(ours, expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_attention_is_finite_and_depends_on_the_text(shared_folder: Path, precision) -> None:
    loaded = load_model(str(shared_folder), "cpu", precision)
    texts = loaded.encode_texts(["glioma", "normal brain"])
    noise = draw_noise(ATTENTION, 16, loaded.tower.width, seed=0)
    maps = attention_maps(loaded, torch.rand(3, 64, 64), texts, ATTENTION, noise)
    assert maps.shape == (2, 3, 4, 4)
    assert torch.isfinite(maps).all()
    assert (maps.flatten(2).std(-1) > 0).all()
    assert not torch.allclose(maps[0], maps[1], rtol=1e-3)


def test_a_detector_looks_at_a_volume_with_it(shared_folder: Path) -> None:
    voxels = np.random.default_rng(0).random((3, 64, 64), dtype=np.float32)
    volume = Volume(voxels, np.diag([-1.0, -1.0, 3.0, 1.0]), source="noise")
    config = load_config("brain_mri").model_copy(update={"attention": ATTENTION})
    prepared = prepare_volume(volume, config.preprocessing)
    positions = slice_positions(volume, "acquisition", prepared.seen, 0.0)
    prompts = PromptTexts(positive=("glioma",), negative=("normal brain",))
    detector = ClapDetector(load_model(str(shared_folder), "cpu", "float32"), prompts, config, "clap", 0)
    detection = detector.detect(prepared, volume.affine_ras, positions, lambda done, total: None)
    seen = detection.anomaly_map[prepared.seen > 0]
    assert len(seen) > 1000
    assert np.isfinite(seen).all()
    assert seen.std() > 0


def test_facts_of_the_model(shared_folder: Path) -> None:
    facts = check_model(str(shared_folder), "cpu")
    assert (facts.side, facts.grid, facts.depth) == (64, (4, 4), 3)
    assert facts.milliseconds > 0


def changed(**values: object) -> Callable[[Path], None]:
    """Damage to the settings; dotted names reach into the image tower's."""

    def damage(folder: Path) -> None:
        settings = json.loads((folder / CONFIG_FILE).read_text())
        for name, value in values.items():
            part = settings["image"] if name in settings["image"] else settings
            part[name] = value
        (folder / CONFIG_FILE).write_text(json.dumps(settings))

    return damage


def cut(folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:5000])


def without_one(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS_FILE)
    del weights["visual.projection.weight"]
    save_file(weights, folder / WEIGHTS_FILE)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda folder: (folder / WEIGHTS_FILE).unlink(), "holds no weights"),
        (cut, "cannot be loaded"),
        (lambda folder: (folder / WEIGHTS_FILE).write_bytes(b""), "cannot be loaded"),
        (without_one, "cannot be loaded"),
        (lambda folder: (folder / WEIGHTS_FILE).rename(folder / "open_clip_model.safetensors"), "cannot be loaded"),
        (lambda folder: (folder / CONFIG_FILE).write_text("{"), "does not describe an embedded model"),
        (lambda folder: (folder / CONFIG_FILE).write_text("[3]"), "does not describe an embedded model"),
        (lambda folder: (folder / CONFIG_FILE).write_text("{}"), "does not describe an embedded model"),
        (lambda folder: (folder / CONFIG_FILE).write_bytes(b"\xff\xfe"), "does not describe an embedded model"),
        (changed(image=3), "does not describe an embedded model"),
        (changed(unheard_of=3), "does not describe an embedded model"),
        (changed(feature_channels=4), "does not describe an embedded model"),
        (changed(trunk="unheard_of"), "cannot be loaded"),
        (changed(trunk="vit_tiny_patch16_224"), "cannot be loaded: vit_tiny_patch16_224 has no feature maps"),
        (changed(trunk="resnet18"), "cannot be loaded"),
        (changed(heads=5), "cannot be loaded"),
        (changed(depth="three"), "cannot be loaded"),
        (changed(depth=4), "cannot be loaded"),
        (changed(vocabulary=3), "cannot be loaded"),
        (changed(text_heads=5), "cannot be loaded"),
        (changed(image_size=70), "cannot be loaded"),
        (lambda folder: (folder / MERGES_FILE).unlink(), "cannot be loaded"),
        (lambda folder: (folder / VOCABULARY_FILE).write_text("{"), "cannot be loaded"),
    ],
)
def test_incomplete_and_damaged_folders(folder: Path, damage, complaint: str) -> None:
    damage(folder)
    with pytest.raises(ModelError, match=complaint) as raised:
        load_model(str(folder), "cpu", "float32")
    assert str(folder) in raised.value.cause
    assert raised.value.remedy.endswith(".")
    assert "\n" not in str(raised.value)
