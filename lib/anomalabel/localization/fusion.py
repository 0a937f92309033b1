"""Several anomaly maps made one: each standardised on held-out healthy images, then averaged.

The scale of a kind of map is the mean and standard deviation of its values on healthy images, not median and MAD. Maps
of healthy images have a long tail to the right (vessels, borders, shadows), and a false alarm is exactly that tail. The
standard deviation grows with it, so a kind that cries wolf on healthy images is turned down; the MAD looks at the bulk
alone and would let that kind's tail rule the mean. Four images of 14 x 14 patches hold 784 values, enough for either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anomalabel.errors import ConfigError, ModelError
from anomalabel.volume import FloatArray

LEAST_SPREAD = 1e-6
"""Standard deviation, share of the largest value: below it float32 maps differ by rounding alone."""


@dataclass(frozen=True)
class MapScale:
    """What one kind of map says about healthy images that it did not learn from.

    Args:
        mean: of its values.
        deviation: standard deviation of them, above 0.
    """

    mean: float
    deviation: float

    @classmethod
    def of(cls, maps: Sequence[FloatArray], kind: str) -> MapScale:
        """Measured on held-out healthy images, each counting the same however many of its patches hold body.

        Args:
            maps: of each image, any shapes, NaN = unseen.
            kind: "bank", "text", for the message.

        Raises:
            ModelError: no value, or no spread: the part says the same of every healthy patch, so nothing tells how far
                from them another one is. It is not left out silently, since its config asked for it.
        """
        images = [values for one in maps if (values := one[np.isfinite(one)].astype(np.float64)).size]
        if not images:
            raise ModelError(
                f"The {kind} map has no value on any held-out healthy image.", "Give healthy images that show the body."
            )
        mean = float(np.mean([values.mean() for values in images]))
        deviation = float(np.sqrt(np.mean([np.square(values - mean).mean() for values in images])))
        if deviation <= LEAST_SPREAD * max(float(np.abs(values).max()) for values in images):
            raise ModelError(
                f"The {kind} map is the same, {mean:g}, all over the held-out healthy images.",
                f"Turn the part {kind} off in the config, or raise its temperature.",
            )
        return cls(mean, deviation)


def standardise(anomaly_map: FloatArray, scale: MapScale) -> FloatArray:
    """A map in standard deviations of healthy patches above their mean, float32; NaN stays."""
    return ((anomaly_map.astype(np.float64) - scale.mean) / scale.deviation).astype(np.float32)


def fuse(
    maps: Mapping[str, FloatArray], scales: Mapping[str, MapScale], weights: Mapping[str, float] | None = None
) -> FloatArray:
    """Weighted mean of standardised maps.

    Args:
        maps: by kind, all of one shape, NaN = unseen.
        scales: of at least these kinds.
        weights: of at least these kinds, none negative; None = alike.

    Returns:
        float32 of the same shape; NaN where any map with a weight is NaN.

    Raises:
        ConfigError: no map, a kind without scale or weight, a weight below 0, or none above 0.
    """
    chosen = dict.fromkeys(maps, 1.0) if weights is None else {kind: weights.get(kind, -1.0) for kind in maps}
    missing = sorted(set(maps) - set(scales))
    if missing or not all(weight >= 0 for weight in chosen.values()) or not sum(chosen.values()) > 0:
        raise ConfigError(
            f"Maps {sorted(maps)} cannot be fused with scales {sorted(scales)} and weights {dict(weights or {})}.",
            "Give each map a scale and a weight of 0 or more, one of them above 0.",
        )
    whole = sum(chosen.values())
    fused = sum(weight / whole * standardise(maps[kind], scales[kind]) for kind, weight in chosen.items() if weight > 0)
    return np.asarray(fused, dtype=np.float32)
