"""Models out of folders: embedded form, BiomedCLIP's form, and what is said about damaged ones."""

import hashlib
import json
import shutil
import socket
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from anomalabel.backbones.check import check_model, list_models
from anomalabel.backbones.device import choose_device
from anomalabel.backbones.hub import pull_model
from anomalabel.backbones.loading import CONFIG_FILE, MERGES_FILE, VOCABULARY_FILE, find_weights, load_model
from anomalabel.errors import ModelError, PromptError

WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Nothing here may ask for an address."""

    def refuse(*arguments, **more):
        raise AssertionError(f"network: {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def load(folder: Path | str):
    return load_model(str(folder), "cpu", "float32")


def test_biomedclips_architecture_loads_from_a_folder(biomedclip_folder):
    model = load(biomedclip_folder)
    assert (model.side, model.tower.grid, model.tower.depth, model.tower.width) == (224, (14, 14), 12, 192)
    assert model.identity.name == "snapshot"
    assert model.identity.weights_sha256 == hashlib.sha256((biomedclip_folder / WEIGHTS).read_bytes()).hexdigest()
    texts = model.encode_texts(["glioma of the brain", "normal brain"])
    assert texts.shape == (2, 32)
    torch.testing.assert_close(texts.norm(dim=-1), torch.ones(2))
    assert texts[0] @ texts[1] < 0.9999


def test_the_weights_of_the_file_are_in_the_towers(biomedclip_folder):
    weights = load_file(biomedclip_folder / WEIGHTS)
    network = load(biomedclip_folder)._model
    for name in ("visual.trunk.blocks.11.mlp.fc2.weight", "text.transformer.encoder.layer.1.output.dense.weight"):
        torch.testing.assert_close(network.state_dict()[name], weights[name])


def test_texts_are_encoded_as_open_clip_does(biomedclip_folder):
    model = load(biomedclip_folder)
    codes = torch.tensor([[2, 5, 6, 9, 10, 8, 3] + [0] * 249])
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model._model.encode_text(codes), dim=-1)
    torch.testing.assert_close(model.encode_texts(["Glioma of the brain"]), expected)


def test_images_are_normalised_as_the_folder_says(biomedclip_folder):
    normalised = load(biomedclip_folder).normalise(torch.full((2, 224, 224), 0.5))
    assert normalised.shape == (2, 3, 224, 224)
    expected = [(0.5 - 0.48) / 0.27, (0.5 - 0.46) / 0.26, (0.5 - 0.41) / 0.28]
    torch.testing.assert_close(normalised[1, :, 100, 7], torch.tensor(expected))


def test_a_folder_may_be_moved(own_folder, tmp_path):
    before = load(own_folder).encode_texts(["glioma"])
    moved = own_folder.rename(tmp_path / "elsewhere, with a blank")
    torch.testing.assert_close(load(moved).encode_texts(["glioma"]), before)


def test_longest_prompt_and_one_token_more(biomedclip_folder):
    model = load(biomedclip_folder)
    assert model.encode_texts([" ".join(["brain"] * 254)]).shape == (1, 32)
    with pytest.raises(PromptError, match="has 257 tokens; the text tower of snapshot reads 256"):
        model.encode_texts(["normal", " ".join(["brain"] * 255)])


def test_longest_prompt_of_the_embedded_form(tiny_clip):
    assert tiny_clip.encode_texts(["brain " * 62]).shape == (1, 16)
    with pytest.raises(PromptError, match="has 65 tokens; the text tower of tiny reads 64"):
        tiny_clip.encode_texts(["brain " * 63])


def test_unknown_words_are_told_where_the_folder_lists_the_known(tiny_clip, biomedclip_folder):
    texts = ["Glioma, tumor-like TUMOR", "Ödem, xylophone 3"]
    assert tiny_clip.unknown_words(texts) == ("like", "xylophone", "ödem")
    assert load(biomedclip_folder).unknown_words(texts) == ()


@pytest.mark.parametrize("text", ["", "瘤 und Ödem", "🧠", "\u202eabc", "a\x00b"])
def test_unusual_texts_are_encoded(tiny_clip, biomedclip_folder, text):
    for model in (tiny_clip, load(biomedclip_folder)):
        vector = model.encode_texts([text])
        assert torch.isfinite(vector).all()
        assert vector.norm() == pytest.approx(1, abs=1e-5)


def test_nothing_has_a_gradient_and_dropout_is_off(tiny_clip):
    network = tiny_clip._model
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(module.training for module in network.modules())


def test_bfloat16_is_for_the_image_tower_alone(tiny_clip_folder):
    model = load_model(str(tiny_clip_folder), "cpu", "bfloat16")
    assert model.dtype == torch.bfloat16
    assert {value.dtype for value in model._model.visual.parameters()} == {torch.bfloat16}
    assert {value.dtype for value in model._model.text.parameters()} == {torch.float32}
    assert model.encode_texts(["glioma"]).dtype == torch.float32


@pytest.mark.parametrize("name", ["unheard_of", "", "/nowhere/at/all", "../tiny", "m" * 300, "a\x00b"])
def test_an_unknown_model(models_folder, name):
    with pytest.raises(ModelError, match=r"There is no model .*anomalabel models list"):
        load(name)


def test_biomedclip_before_it_is_pulled(models_folder):
    with pytest.raises(ModelError, match="models pull biomedclip"):
        load("biomedclip")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), "holds no weights"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b""), "cannot be loaded"),
        (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:100_000]), "cannot be loaded"),
        (lambda folder: (folder / WEIGHTS).rename(folder / "open_clip_pytorch_model.bin"), "cannot be loaded"),
        (lambda folder: save_file({"a": torch.ones(2)}, folder / WEIGHTS), "cannot be loaded"),
        (lambda folder: (folder / CONFIG_FILE).unlink(), "holds no open_clip_config.json"),
        (lambda folder: (folder / CONFIG_FILE).write_text('{"model_cfg": {'), "cannot be read as JSON"),
        (lambda folder: (folder / CONFIG_FILE).write_bytes(b"\xff\xfe"), "cannot be read as JSON"),
        (lambda folder: (folder / CONFIG_FILE).write_text('{"name": 3}'), "no vision_cfg and text_cfg"),
        (lambda folder: (folder / CONFIG_FILE).write_text('["model_cfg"]'), "no vision_cfg and text_cfg"),
        (lambda folder: (folder / CONFIG_FILE).write_text('{"model_cfg": {"text_cfg": {}}}'), "no vision_cfg"),
        (lambda folder: (folder / "config.json").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "cannot be loaded"),
    ],
)
def test_incomplete_and_damaged_folders(own_folder, damage, complaint):
    damage(own_folder)
    with pytest.raises(ModelError, match=complaint) as raised:
        load(own_folder)
    assert str(own_folder) in raised.value.cause
    assert raised.value.remedy.endswith(".")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [MERGES_FILE, VOCABULARY_FILE])
def test_damaged_text_files_of_the_embedded_form(tiny_clip_folder, tmp_path, name):
    folder = Path(shutil.copytree(tiny_clip_folder, tmp_path / "copied"))
    (folder / name).write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(folder)


def test_the_hash_is_that_of_the_file_open_clip_loads(tiny_clip_folder, tmp_path):
    folder = Path(shutil.copytree(tiny_clip_folder, tmp_path / "copied"))
    weights = load_file(folder / WEIGHTS)
    torch.save(
        {name: torch.zeros_like(value) for name, value in weights.items()}, folder / "open_clip_pytorch_model.bin"
    )
    (folder / WEIGHTS).rename(folder / "open_clip_pytorch_model.safetensors")
    assert find_weights(folder).name == "open_clip_pytorch_model.safetensors"
    torch.testing.assert_close(load(folder)._model.visual.proj, weights["visual.proj"])


def test_pickled_weights_load_and_run_nothing(tiny_clip_folder, tmp_path):
    folder = Path(shutil.copytree(tiny_clip_folder, tmp_path / "copied"))
    torch.save(load_file(folder / WEIGHTS), folder / "open_clip_pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    assert load(folder).encode_texts(["glioma"]).shape == (1, 16)
    torch.save({"attack": Path("/")}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(folder)


@pytest.mark.parametrize(
    "vision",
    [
        {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        {"image_size": 64, "timm_model_name": "resnet10t", "timm_pool": "avg", "timm_proj": "linear"},
        {"image_size": 224, "timm_model_name": "eva02_tiny_patch14_224", "timm_pool": "", "timm_proj": "linear"},
    ],
    ids=["open_clip ResNet", "timm ResNet", "timm EVA"],
)
def test_image_towers_without_plain_blocks_read_texts_and_cannot_be_cut(tiny_clip_folder, tmp_path, vision):
    folder = Path(shutil.copytree(tiny_clip_folder, tmp_path / "copied"))
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["model_cfg"]["vision_cfg"] = vision
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    parts = {key: value for key, value in config["model_cfg"].items() if key != "custom_text"}
    save_file(open_clip.CustomTextCLIP(**parts).state_dict(), folder / WEIGHTS)
    model = load(folder)
    assert model.encode_texts(["glioma"]).shape == (1, 16)
    with pytest.raises(ModelError, match=r"needs a plain ViT: choose another model; with a ResNet, .*normal_bank"):
        _ = model.tower


@pytest.mark.parametrize("name", ["tpu", "", "mps", "meta", "cuda:-1", "cuda:99", "cpu:x"])
def test_devices_that_are_not_there(name):
    with pytest.raises(ModelError, match=r"Use (--device )?auto"):
        choose_device(name)


def test_facts_of_a_model(tiny_clip_folder):
    facts = check_model(str(tiny_clip_folder), "cpu")
    assert (facts.name, facts.side, facts.grid, facts.depth, facts.device) == ("tiny", 32, (4, 4), 11, "cpu")
    assert facts.milliseconds > 0
    assert -1 <= facts.texts_differ < 0.9999


def test_a_model_that_is_not_finite_is_told(tiny_clip_folder, tmp_path):
    folder = Path(shutil.copytree(tiny_clip_folder, tmp_path / "copied"))
    weights = load_file(folder / WEIGHTS)
    weights["visual.proj"][0] = float("nan")
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(ModelError, match="not finite"):
        check_model(str(folder), "cpu")


def test_list_of_models(models_folder, biomedclip_folder):
    assert [one.name for one in list_models()] == ["embedded", "biomedclip"]
    assert list_models()[1].folder is None
    pull_model("biomedclip", source=biomedclip_folder)
    pull_model("mine", source=biomedclip_folder)
    (models_folder / "no model").mkdir()
    assert [(one.name, one.folder) for one in list_models()][1:] == [
        ("biomedclip", models_folder / "biomedclip"),
        ("mine", models_folder / "mine"),
    ]
