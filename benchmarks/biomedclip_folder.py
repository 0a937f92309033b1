"""Prove the BiomedCLIP path at full size, without its weights.

    python benchmarks/biomedclip_folder.py

Makes a folder of BiomedCLIP's architecture (timm ViT-B/16, BERT base, 512-dimensional embedding, context 256) with
random weights and a tokenizer made here, pulls it as a copied folder, checks it, and detects on an axial slab of the
demo's head. The maps mean nothing; that everything loads, fits and runs is what is shown.
"""

from __future__ import annotations

import json
import os
import string
import sys
import tempfile
import time
from pathlib import Path

import nibabel
import open_clip
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertTokenizerFast

from anomalabel.backbones.check import check_model
from anomalabel.backbones.hub import pull_model
from anomalabel.backbones.loading import CONFIG_FILE, WEIGHT_FILES
from anomalabel.config import DetectionRequest
from anomalabel.demo.lesion import load_head
from anomalabel.pipeline import DetectionPipeline

VOCABULARY = 30522
SLAB = slice(70, 86)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["ANOMALABEL_MODELS"] = str(folder / "models")
        parameters = write_model(folder / "copied")
        pull_model("biomedclip", source=folder / "copied")
        print(f"{parameters / 1e6:.0f} million parameters")
        for fact, value in vars(check_model("biomedclip")).items():
            print(f"{fact}: {value}")
        head = load_head()
        image = folder / "slab.nii.gz"
        nibabel.save(nibabel.Nifti1Image(head.t1[:, :, SLAB], head.affine_ras), image)
        start = time.perf_counter()
        request = DetectionRequest(config="brain_mri", backbone="biomedclip")
        report = DetectionPipeline().detect(image, request).report
        print(f"detect, {SLAB.stop - SLAB.start} slices, loading included: {time.perf_counter() - start:.1f} s")
        print(f"method {report.method}, model {report.model.name}, {len(report.findings)} findings")


def write_model(folder: Path) -> int:
    """Write the folder as the hub has it; the number of its parameters."""
    folder.mkdir()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase]
    pieces += [f"##{letter}" for letter in string.ascii_lowercase]
    pieces += [f"[unused{number}]" for number in range(VOCABULARY - len(pieces))]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    BertConfig(vocab_size=VOCABULARY).save_pretrained(folder)
    vision = {
        "image_size": 224,
        "timm_model_name": "vit_base_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
    }
    text = {
        "hf_model_name": str(folder),
        "hf_tokenizer_name": str(folder),
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 256,
    }
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(embed_dim=512, vision_cfg=vision, text_cfg={**text, "hf_model_pretrained": False})
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / WEIGHT_FILES[0])
    config = {"model_cfg": {"embed_dim": 512, "vision_cfg": vision, "text_cfg": text}}
    (folder / CONFIG_FILE).write_text(json.dumps(config))
    return sum(value.numel() for value in model.parameters())


if __name__ == "__main__":
    sys.exit(main())
