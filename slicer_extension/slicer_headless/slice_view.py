"""One slice view drawn into memory: the application's slice logic and markups, without its window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from .scene import HeadlessScene

ORIENTATIONS = ("Axial", "Coronal", "Sagittal")
DISPLAYABLE_MANAGERS = (
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLColorLegendDisplayableManager",
)


class OffscreenSliceView:
    """A slice view of a scene.

    Args:
        name: of the view, as the application's "Red", "Green" and "Yellow".
        orientation: one of `ORIENTATIONS`.
        size: (width, height), pixels.
    """

    def __init__(self, headless: HeadlessScene, name: str, orientation: str, size: tuple[int, int]) -> None:
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(headless.application)
        self.logic.SetMRMLScene(headless.scene)
        headless.application.GetSliceLogics().AddItem(self.logic)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetOrientation(orientation)
        self.node.SetDimensions(*size, 1)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._window = vtk.vtkRenderWindow()
        self._renderer = vtk.vtkRenderer()
        self._displayed = self._build(headless, size)

    def _build(self, headless: HeadlessScene, size: tuple[int, int]) -> slicer.vtkMRMLDisplayableManagerGroup:
        picture = vtk.vtkActor2D()
        picture.SetMapper(self._mapper)
        picture.GetProperty().SetDisplayLocationToBackground()
        self._renderer.AddViewProp(picture)
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(*size)
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetInteractorStyle(None)
        self._interactor.SetRenderWindow(self._window)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(headless.application)
        for manager in DISPLAYABLE_MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        group = factory.InstantiateDisplayableManagers(self._renderer)
        group.SetMRMLDisplayableNode(self.node)
        return group

    def fit(self) -> None:
        """Fit the view to its background image."""
        width, height = self.node.GetDimensions()[:2]
        self.logic.FitSliceToAll(width, height)

    def draw(self) -> np.ndarray:
        """The view's pixels, (height, width, 3) uint8, row 0 on top."""
        self.logic.UpdatePipeline()
        self._mapper.SetInputConnection(self.logic.GetImageDataConnection())
        self._window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self._window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        image = grabber.GetOutput()
        width, height = image.GetDimensions()[:2]
        pixels = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
        return pixels.reshape(height, width, 3)[::-1].copy()

    def pixel_of(self, point_ras: np.ndarray) -> tuple[int, int]:
        """(row, column) where a world point is drawn, as if it lay in the slice."""
        to_pixels = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), to_pixels)
        x, y = to_pixels.MultiplyPoint([*(float(value) for value in point_ras), 1.0])[:2]
        return round(self.node.GetDimensions()[1] - 1 - y), round(x)

    def close(self) -> None:
        """Free the window."""
        self._displayed.SetMRMLDisplayableNode(None)
        self._window.Finalize()


def rendering_works() -> bool:
    """Whether anything can be drawn offscreen here; may end the process where it cannot."""
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(8, 8)
    window.AddRenderer(vtk.vtkRenderer())
    window.Render()
    works = bool(window.SupportsOpenGL())
    window.Finalize()
    return works


def write_png(pixels: np.ndarray, path: Path) -> None:
    """Write (height, width, 3) uint8 pixels as PNG."""
    from PIL import Image

    Image.fromarray(pixels).save(path)
