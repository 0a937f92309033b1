"""What each method does, one or two sentences, for readers who have not read its paper."""

from __future__ import annotations

from collections.abc import Mapping

_RESTORED = (
    "A U-Net that has seen healthy images only restores an image in which suspected regions are hidden by a mosaic; "
    "the heatmap shows where the restored image differs from the real one. "
)

METHODS: Mapping[str, str] = {
    "clap": "Attention of an image-text model for disease texts minus that for health texts.",
    "plp": "Attention of an image-text model for disease texts alone.",
    "intensity": "Brightness alone: the floor that a method must beat.",
    "normal_bank": "Distance of each patch from the nearest patch of the healthy images.",
    "few_shot": "A small head on a frozen encoder, learned from few healthy images and made-up anomalies in them.",
    "reconstruction": f"{_RESTORED}What is suspected is told by the saliency that the config names.",
    "reconstruction_none": f"{_RESTORED}Here nothing is hidden: the others' masks must beat this.",
    "reconstruction_ear": f"{_RESTORED}Suspected is what a vision transformer attends to by itself, without any text.",
    "reconstruction_plp": f"{_RESTORED}Suspected is what an image-text model attends to for disease texts.",
    "reconstruction_clap": (
        f"{_RESTORED}Suspected is what an image-text model attends to more for disease texts than for health texts."
    ),
}
"""By name, as in metrics.json."""
