"""Where the weights of a timm network lie: asked quickly, also on machines without network.

timm itself asks the hub again and again before it gives up (46 seconds where nothing answers), and asks even for what
its cache holds.
"""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import urlparse

import requests
import timm
import torch
from huggingface_hub import constants, hf_hub_download, hf_hub_url, try_to_load_from_cache

from anomalabel.backbones.hub import fetching_errors
from anomalabel.backbones.loading import first_line
from anomalabel.errors import ModelError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""timm's own names on the hub, in its order of preference."""

CHECK_SECONDS = 3.0
"""The hub must answer within, or counts as out of reach."""

LOGGER = logging.getLogger(__name__)


def find_timm_weights(network: str) -> Path | None:
    """The file of a timm network's published weights, fetched from the hub where no cache holds it.

    Args:
        network: timm's name, with its tag where there are several weights.

    Returns:
        None where nobody published any, or they are not here and the hub cannot be reached (or must not be:
        HF_HUB_OFFLINE).

    Raises:
        ModelError: timm knows no such network.
    """
    if not timm.is_model(network):
        raise ModelError(f"timm knows no network '{network}'.", "List its networks with timm.list_models().")
    published = timm.get_pretrained_cfg(network)
    if published is None:
        return None
    if published.hf_hub_id:
        repository, _, revision = published.hf_hub_id.partition("@")
        files = (published.hf_hub_filename,) if published.hf_hub_filename else WEIGHT_FILES
        found = _cached(repository, revision or None, files)
        if found is not None:
            return found
    if isinstance(published.url, str) and published.url:
        stored = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(published.url).path).name
        if stored.is_file():
            return stored
    return _fetched(repository, revision or None, files) if published.hf_hub_id else None


def weights_in(place: Path) -> Path:
    """The weights file that a place is, or that it holds under one of timm's own names.

    Raises:
        ModelError: there is none.
    """
    if place.is_dir():
        for name in WEIGHT_FILES:
            if (place / name).is_file():
                return place / name
        raise ModelError(f"The folder {place} holds neither {' nor '.join(WEIGHT_FILES)}.", "Name the file itself.")
    if not place.is_file():
        raise ModelError(f"There is no weights file {place}.", "Give the file that holds the network's weights.")
    return place


def _cached(repository: str, revision: str | None, files: tuple[str, ...]) -> Path | None:
    for file in files:
        found = try_to_load_from_cache(repository, file, revision=revision)
        if isinstance(found, str):
            return Path(found)
    return None


def _fetched(repository: str, revision: str | None, files: tuple[str, ...]) -> Path | None:
    if constants.HF_HUB_OFFLINE:
        return None
    for file in files:
        try:
            answer = requests.head(hf_hub_url(repository, file, revision=revision), timeout=CHECK_SECONDS)
            if answer.status_code >= requests.codes.bad_request:
                continue
            return Path(hf_hub_download(repository, file, revision=revision, etag_timeout=CHECK_SECONDS))
        except requests.RequestException as error:
            LOGGER.info("%s is out of reach: %s.", repository, first_line(error))
            return None
        except fetching_errors() as error:
            LOGGER.warning("%s cannot be fetched: %s.", repository, first_line(error))
            return None
    return None
