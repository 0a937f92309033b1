"""Tiny image-text models and the reference implementation."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import open_clip
import pytest
import torch

from anomalabel.backbones.image_text import OpenClipModel
from anomalabel.finding import ModelIdentity

TINY_TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
NATIVE = {"image_size": 32, "layers": 4, "width": 32, "head_width": 16, "patch_size": 8}
TIMM = {
    "image_size": 224,
    "timm_model_name": "vit_tiny_patch16_224",
    "timm_model_pretrained": False,
    "timm_pool": "",
    "timm_proj": "linear",
}


@pytest.fixture(scope="session")
def m2ib_reference() -> ModuleType:
    path = Path(__file__).with_name("m2ib_reference.py")
    spec = importlib.util.spec_from_file_location("m2ib_reference", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", params=["class token", "average", "timm"])
def tiny_model(request: pytest.FixtureRequest) -> OpenClipModel:
    """A random model of each kind of image tower, float32 on the CPU."""
    vision = {
        "class token": NATIVE | {"pool_type": "tok"},
        "average": NATIVE | {"pool_type": "avg"},
        "timm": TIMM,
    }[request.param]
    torch.manual_seed(0)
    network = open_clip.CustomTextCLIP(embed_dim=24, vision_cfg=vision, text_cfg=TINY_TEXT)
    tokenizer = open_clip.SimpleTokenizer(context_length=TINY_TEXT["context_length"])
    identity = ModelIdentity(name="tiny", weights_sha256="0" * 64)
    return OpenClipModel(network, tokenizer, identity, torch.device("cpu"))
