"""One method in several saliencies, so that one command compares them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from anomalabel.config import Saliency
from anomalabel.errors import ConfigError

RECONSTRUCTION = "reconstruction"


def with_saliencies(methods: Sequence[str], saliencies: Sequence[str]) -> tuple[str, ...]:
    """The methods, with `reconstruction` replaced by one variant for each saliency, in the order they are named.

    Args:
        methods: as they are named.
        saliencies: none changes nothing: `reconstruction` then takes the config's.

    Raises:
        ConfigError: a saliency is not known, or `reconstruction` is not among the methods.
    """
    if not saliencies:
        return tuple(methods)
    known = get_args(Saliency)
    for saliency in saliencies:
        if saliency not in known:
            raise ConfigError(f"There is no saliency '{saliency}'.", f"Choose among {', '.join(known)}.")
    if RECONSTRUCTION not in methods:
        raise ConfigError(
            f"--saliency {saliencies[0]} belongs to the method {RECONSTRUCTION}, which is not asked for.",
            f"Add --method {RECONSTRUCTION}, or leave --saliency out.",
        )
    variants = [f"{RECONSTRUCTION}_{saliency}" for saliency in saliencies]
    return tuple(one for method in methods for one in (variants if method == RECONSTRUCTION else [method]))
