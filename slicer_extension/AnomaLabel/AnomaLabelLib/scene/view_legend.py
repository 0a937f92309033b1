"""The colour bar inside the slice views, by the legend node of Slicer's Colors module."""

from __future__ import annotations

import slicer

LABELS = 3
SIZE = (0.12, 0.4)
"""Of the view's (width, height)."""


def show_legend(
    volume: slicer.vtkMRMLScalarVolumeNode, title: str, view_ids: tuple[str, ...] = ()
) -> slicer.vtkMRMLColorLegendDisplayNode:
    """Draw a volume's colour bar in the views where it is background or foreground.

    Slicer draws none for a volume in an additional layer, see `layers`.

    Args:
        view_ids: of the only slice nodes that show it; none for all.
    """
    bar = legend_of_volume(volume)
    if bar is None:
        bar = slicer.vtkMRMLColorLegendDisplayNode()
        bar.SetNumberOfLabels(LABELS)
        bar.SetLabelFormat("%.3g")
        bar.SetSize(*SIZE)
        volume.GetScene().AddNode(bar)
        bar.SetAndObservePrimaryDisplayNode(volume.GetDisplayNode())
        volume.AddAndObserveDisplayNodeID(bar.GetID())
    bar.SetTitleText(title)
    bar.SetViewNodeIDs(list(view_ids))
    bar.SetVisibility(True)
    # The view has to hear of it once more after the volume took the bar in.
    bar.Modified()
    return bar


def hide_legend(volume: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Take a volume's colour bar out of the scene."""
    bar = legend_of_volume(volume)
    if bar is not None:
        volume.GetScene().RemoveNode(bar)


def legend_of_volume(volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLColorLegendDisplayNode | None:
    """The colour bar of a volume, or None where it has none."""
    for place in range(volume.GetNumberOfDisplayNodes()):
        display = volume.GetNthDisplayNode(place)
        if display is not None and display.IsA("vtkMRMLColorLegendDisplayNode"):
            return display
    return None
