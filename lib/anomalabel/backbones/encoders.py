"""The encoders of one name, each loaded when it is first asked for."""

from __future__ import annotations

import threading

import torch

from anomalabel.backbones.device import Precision, choose_device, choose_dtype
from anomalabel.backbones.image_text import ImageTextModel
from anomalabel.backbones.loading import load_model
from anomalabel.backbones.patch_encoders import TIMM_PREFIX, PatchEncoder, load_patch_encoder, patch_encoder_of
from anomalabel.errors import ModelError


class NamedEncoders:
    """Image-text model and patch encoder of a name, which share their weights; may be called from several threads.

    Args:
        name: see `load_patch_encoder`.
        device: "auto", "cpu", "cuda" or "cuda:N".
        precision: of the image towers.

    Raises:
        ModelError: the device is not there.
    """

    def __init__(self, name: str, device: str = "auto", precision: Precision = "auto") -> None:
        choose_device(device)
        self._name, self._device = name, device
        self._precision: Precision = precision
        self._model: ImageTextModel | None = None
        self._patches: PatchEncoder | None = None
        self._loading = threading.RLock()

    @property
    def name(self) -> str:
        """What was asked for."""
        return self._name

    @property
    def device(self) -> torch.device:
        """Where they run."""
        return choose_device(self._device)

    @property
    def dtype(self) -> torch.dtype:
        """Precision that the image towers compute in."""
        return choose_dtype(self.device, self._precision)

    def image_text_model(self) -> ImageTextModel:
        """The image-text model.

        Raises:
            ModelError: it cannot be loaded, or the name stands for a network without text.
        """
        with self._loading:
            if self._model is None:
                if self._name.startswith(TIMM_PREFIX):
                    raise ModelError(
                        f"{self._name} reads no text.", "Choose an image-text model, or a method without prompts."
                    )
                self._model = load_model(self._name, self._device, self._precision)
            return self._model

    def patch_encoder(self) -> PatchEncoder:
        """The patch encoder.

        Raises:
            ModelError: it cannot be loaded.
        """
        with self._loading:
            if self._patches is None:
                if self._name.startswith(TIMM_PREFIX):
                    self._patches = load_patch_encoder(self._name, self._device, self._precision)
                else:
                    self._patches = patch_encoder_of(self.image_text_model())
            return self._patches


class GivenEncoders:
    """Encoders that Python code made itself.

    Args:
        model: None where no method will ask for it.
        patches: None takes the model's own.
    """

    def __init__(self, model: ImageTextModel | None = None, patches: PatchEncoder | None = None) -> None:
        self._model, self._patches = model, patches

    @property
    def device(self) -> torch.device:
        """Where the model runs; without one, the processor."""
        return torch.device("cpu") if self._model is None else self._model.device

    def image_text_model(self) -> ImageTextModel:
        """The model given; ModelError without one."""
        if self._model is None:
            raise ModelError("This encoder reads no text.", "Choose an image-text model, or a method without prompts.")
        return self._model

    def patch_encoder(self) -> PatchEncoder:
        """The patch encoder given, or the model's own."""
        return self._patches or patch_encoder_of(self.image_text_model())
