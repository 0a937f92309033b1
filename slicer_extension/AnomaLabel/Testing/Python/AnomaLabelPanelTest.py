"""Runs inside the application: the panel opens, finds its widgets, and says what to do when no server answers."""

from __future__ import annotations

import time
import unittest

import slicer

PATIENCE_S = 10


class AnomaLabelPanelTest(unittest.TestCase):
    """What slicer-core cannot show: PythonQt, CTK widgets and the application's own event loop."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("AnomaLabel")
        self.widget = slicer.util.getModuleWidget("AnomaLabel")

    def test_an_unreachable_server_is_said_with_a_remedy(self) -> None:
        self.widget.ui.serverAddress.setText("http://127.0.0.1:1")
        self.widget.ui.testConnectionButton.click()
        end = time.monotonic() + PATIENCE_S
        while self.widget.presenter.busy and time.monotonic() < end:
            slicer.app.processEvents()
        notice = self.widget.presenter.state.server_notice
        self.assertTrue(notice.is_error)  # noqa: PT009
        self.assertIn("server runs", notice.remedy)  # noqa: PT009
        self.assertTrue(self.widget.ui.testConnectionButton.property("enabled"))  # noqa: PT009

    def test_the_sliders_take_a_range_and_a_value(self) -> None:
        slider = self.widget.ui.thresholdSlider
        slider.setRange(-0.5, 0.75)
        slider.setValue(0.25)
        self.assertAlmostEqual(slider.property("value"), 0.25, places=6)  # noqa: PT009

    def test_the_selector_offers_volumes_of_the_scene(self) -> None:
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Head")
        self.widget.ui.volumeSelector.setCurrentNode(volume)
        self.assertEqual(self.widget.ui.volumeSelector.currentNode().GetID(), volume.GetID())  # noqa: PT009
