"""The volumes that one slice view lays over each other, read and written as a plain value."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

FIRST_FURTHER = 3
"""Place of the first layer after background, foreground and label."""


@dataclass(frozen=True)
class Layer:
    """A volume by its node id, None for none, and how strongly it covers what is below, in [0, 1]."""

    volume_id: str | None
    opacity: float


@dataclass(frozen=True)
class Layers:
    """What one slice view shows; further layers lie over the foreground and, like it, below the label layer."""

    background: str | None
    foreground: Layer
    label: Layer
    further: tuple[Layer, ...] = ()


def can_stack(composite: slicer.vtkMRMLSliceCompositeNode) -> bool:
    """Whether this Slicer can show more volumes than background, foreground and label; 5.12 can."""
    return hasattr(composite, "SetNthLayerVolumeID") and hasattr(composite, "GetNumberOfAdditionalLayers")


def read_layers(composite: slicer.vtkMRMLSliceCompositeNode) -> Layers:
    """What a slice view shows now."""
    further = []
    if can_stack(composite):
        for place in range(FIRST_FURTHER, FIRST_FURTHER + composite.GetNumberOfAdditionalLayers()):
            further.append(Layer(composite.GetNthLayerVolumeID(place), composite.GetNthLayerOpacity(place)))
    return Layers(
        composite.GetBackgroundVolumeID(),
        Layer(composite.GetForegroundVolumeID(), composite.GetForegroundOpacity()),
        Layer(composite.GetLabelVolumeID(), composite.GetLabelOpacity()),
        tuple(further),
    )


def write_layers(composite: slicer.vtkMRMLSliceCompositeNode, layers: Layers) -> None:
    """Show layers in a slice view; further ones are left out where this Slicer cannot show them."""
    before = composite.StartModify()
    composite.SetBackgroundVolumeID(layers.background)
    composite.SetForegroundVolumeID(layers.foreground.volume_id)
    composite.SetForegroundOpacity(layers.foreground.opacity)
    composite.SetLabelVolumeID(layers.label.volume_id)
    composite.SetLabelOpacity(layers.label.opacity)
    if can_stack(composite) and read_layers(composite).further != layers.further:
        for place in reversed(range(composite.GetNumberOfAdditionalLayers())):
            composite.SetNthLayerVolumeID(FIRST_FURTHER + place, None)
        for place, layer in enumerate(layers.further, start=FIRST_FURTHER):
            composite.SetNthLayerVolumeID(place, layer.volume_id)
            composite.SetNthLayerOpacity(place, layer.opacity)
    composite.EndModify(before)
