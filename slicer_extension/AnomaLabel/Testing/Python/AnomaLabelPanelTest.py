# ruff: noqa: PT009
"""Runs inside the application: one case from the worklist to the server's record, on a server in this process.

It connects the panel to that server, so close a case of your own first.
"""

from __future__ import annotations

import time
import unittest
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import slicer
from tiny_server import CASE, PEAK_RAS, tiny_server

PATIENCE_S = 20
PAUSE_S = 0.01
SETTINGS = "AnomaLabel/"
REVIEWER = "Module test"


class AnomaLabelPanelTest(unittest.TestCase):
    """What slicer-core cannot show: PythonQt, CTK widgets and the application's own event loop."""

    def setUp(self) -> None:
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("AnomaLabel")
        self.widget = slicer.util.getModuleWidget("AnomaLabel")
        self.presenter = self.widget.presenter
        self._wait(lambda: not self.presenter.busy)
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.server = stack.enter_context(tiny_server())
        self._keep_settings()
        self._fill_in(
            replace(self.presenter.settings, reviewer=REVIEWER, token="", reading_first=False, run_on_open=True)
        )

    def tearDown(self) -> None:
        self.presenter.cases.close()
        self._wait(lambda: not self.presenter.working)
        slicer.mrmlScene.Clear()

    def test_a_case_is_reviewed_and_each_act_arrives_once(self) -> None:
        ui = self.widget.ui
        self._connect(self.server.address)
        self._wait(lambda: len(self.presenter.state.worklist.cases) == 1)
        ui.worklistTable.setCurrentCell(0, 0)
        ui.openCaseButton.click()
        self._wait(lambda: self.presenter.state.run is not None)
        state = self.presenter.state
        self.assertEqual(state.case.image, CASE)
        self.assertFalse(state.notice.is_error, state.notice)
        self.assertEqual(ui.findingsTable.property("rowCount"), 1)
        self.assertEqual(self._foreground_values(), [0.1, 0.6, 0.9])
        self.assertEqual(self._visible_boxes(), 1)
        ui.findingsTable.setCurrentCell(0, 0)
        np.testing.assert_allclose(self._crosshair_ras(), PEAK_RAS, atol=0.5)
        ui.acceptButton.click()
        self._wait(lambda: self.server.actions() == ["accepted"])
        self.assertEqual(self.presenter.state.findings.rows[0].status, "accepted")
        ui.undoButton.click()
        self._wait(lambda: self.server.actions() == ["accepted", "reopened"])
        self._wait(lambda: self.presenter.state.outbox.pending == 0)
        accepted, reopened = self.server.events
        self.assertEqual(reopened["undoes"], accepted["event_id"])
        self.assertEqual({event["finding_id"] for event in self.server.events}, {accepted["finding_id"]})
        self.assertEqual({event["reviewer"] for event in self.server.events}, {REVIEWER})
        self.assertEqual(self.presenter.state.findings.rows[0].status, "open")

    def test_heatmap_and_boxes_are_hidden_and_shown(self) -> None:
        ui = self.widget.ui
        self._connect(self.server.address)
        self._wait(lambda: len(self.presenter.state.worklist.cases) == 1)
        self.presenter.worklist.open(CASE)
        self._wait(lambda: self.presenter.state.run is not None)
        ui.heatmapCheck.setChecked(False)
        ui.boxesCheck.setChecked(False)
        self.assertEqual((self._foreground_values(), self._visible_boxes()), ([], 0))
        ui.heatmapCheck.setChecked(True)
        ui.boxesCheck.setChecked(True)
        self.assertEqual((self._foreground_values(), self._visible_boxes()), ([0.1, 0.6, 0.9], 1))
        ui.thresholdSlider.setValue(0.8)
        slicer.app.processEvents()
        self.assertEqual(self.presenter.state.findings.rows[0].finding.index_min, (5, 4, 3))

    def test_an_unreachable_server_is_said_with_a_remedy(self) -> None:
        self._connect("http://127.0.0.1:1")
        notice = self.presenter.state.server_notice
        self.assertTrue(notice.is_error)
        self.assertIn("server runs", notice.remedy)
        self.assertTrue(self.widget.ui.testConnectionButton.property("enabled"))

    def test_the_selector_offers_volumes_of_the_scene(self) -> None:
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Head")
        self.widget.ui.volumeSelector.setCurrentNode(volume)
        self.assertEqual(self.widget.ui.volumeSelector.currentNode().GetID(), volume.GetID())

    def _connect(self, address: str) -> None:
        self.widget.ui.serverAddress.setCurrentText(address)
        self.widget.ui.testConnectionButton.click()
        self._wait(lambda: not self.presenter.busy)

    def _wait(self, is_done) -> None:
        end = time.monotonic() + PATIENCE_S
        while not is_done() and time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(PAUSE_S)
        self.assertTrue(is_done(), self.presenter.state.notice)

    def _fill_in(self, settings) -> None:
        """Write settings into the fields of the tab Server, as a person would; Connect takes them over."""
        ui = self.widget.ui
        ui.reviewerEdit.setText(settings.reviewer)
        ui.tokenEdit.setText(settings.token)
        ui.readingFirstCheck.setChecked(settings.reading_first)
        ui.runOnOpenCheck.setChecked(settings.run_on_open)

    def _keep_settings(self) -> None:
        """The user's addresses, name and token are theirs again after each test."""
        store, before = slicer.app.userSettings(), self.presenter.settings
        kept = {key: store.value(key) for key in store.allKeys() if key.startswith(SETTINGS)}

        def bring_back() -> None:
            self._fill_in(before)
            self.widget.ui.serverAddress.setCurrentText(before.address)
            self.presenter.apply_settings(before)
            for key in [key for key in store.allKeys() if key.startswith(SETTINGS)]:
                store.remove(key)
            for key, value in kept.items():
                store.setValue(key, value)

        self.addCleanup(bring_back)

    def _foreground_values(self) -> list[float]:
        """Different values of the volume over the image in the first slice view, rounded; none where there is none."""
        composite = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        volume = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID() or "")
        values = [] if volume is None else np.unique(slicer.util.arrayFromVolume(volume))
        return [round(float(value), 3) for value in values]

    def _visible_boxes(self) -> int:
        boxes = slicer.util.getNodesByClass("vtkMRMLMarkupsROINode")
        return sum(bool(box.GetDisplayNode().GetVisibility()) for box in boxes)

    def _crosshair_ras(self) -> tuple[float, float, float]:
        return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode").GetCrosshairRAS()
