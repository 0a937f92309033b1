"""Where a model runs and in which precision."""

from __future__ import annotations

from typing import Literal

import torch

from anomalabel.errors import ModelError

Precision = Literal["auto", "float32", "bfloat16"]


def choose_device(name: str) -> torch.device:
    """Turn "auto", "cpu", "cuda" or "cuda:N" into a device that is there.

    Raises:
        ModelError: the device is unknown or absent.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"'{name}' is no device.", "Use auto, cpu, cuda or cuda:N.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"Device {name} is not there; this machine has {torch.cuda.device_count()} CUDA devices.",
            "Use --device auto or cpu.",
        )
    if device.type not in {"cpu", "cuda"}:
        raise ModelError(f"Device {name} is not supported.", "Use auto, cpu, cuda or cuda:N.")
    return device


def choose_dtype(device: torch.device, precision: Precision) -> torch.dtype:
    """bfloat16 where the hardware computes in it (auto), or what was asked for."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() and _has_matrix_units() else torch.float32


def _has_matrix_units() -> bool:
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("amx_bf16", False) or torch.cpu._is_amx_tile_supported())
