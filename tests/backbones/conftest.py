"""A folder of BiomedCLIP's architecture, small: timm ViT-Ti, a BERT of two layers and a tokenizer made here."""

import json
import shutil
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertTokenizerFast

from anomalabel.backbones.loading import CONFIG_FILE, WEIGHT_FILES

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["gli", "##oma", "normal", "brain", "of", "the", "tumor", "healthy", "gray", "matter", ",", "."]
CONTEXT_LENGTH = 256


@pytest.fixture(scope="session")
def biomedclip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the hub has it, the text tower's files beside: its config names hub models. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("hub") / "snapshot"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(PIECES + WORDS))
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    BertConfig(
        vocab_size=len(PIECES + WORDS),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=512,
        initializer_range=0.5,
    ).save_pretrained(folder)
    vision = {
        "image_size": 224,
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
    }
    text = {
        "hf_model_name": str(folder),
        "hf_tokenizer_name": str(folder),
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": CONTEXT_LENGTH,
    }
    torch.manual_seed(1)
    unpretrained = {**text, "hf_model_pretrained": False}
    model = open_clip.CustomTextCLIP(embed_dim=32, vision_cfg=vision, text_cfg=unpretrained)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / WEIGHT_FILES[0])
    named = {"hf_model_name": "OWNER/text-tower", "hf_tokenizer_name": "OWNER/text-tower"}
    preprocess = {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]}
    config = {"model_cfg": {"embed_dim": 32, "vision_cfg": vision, "text_cfg": {**text, **named}}}
    (folder / CONFIG_FILE).write_text(json.dumps({**config, "preprocess_cfg": preprocess}))
    return folder


@pytest.fixture
def own_folder(biomedclip_folder: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(biomedclip_folder, tmp_path / "copied"))


@pytest.fixture
def models_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder of this test alone."""
    folder = tmp_path / "models"
    monkeypatch.setenv("ANOMALABEL_MODELS", str(folder))
    return folder
