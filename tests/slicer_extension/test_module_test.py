"""The test that is meant for the application, run on the stand-ins for what only the application has."""

from __future__ import annotations

import importlib
import io
import sys
import unittest
from unittest import mock

import numpy as np
import pytest
import slicer
from slicer_headless.scene import MODULE_FOLDER

TESTS = MODULE_FOLDER / "Testing" / "Python"
NAME = "AnomaLabelPanelTest"


@pytest.fixture
def as_the_application(headless, tmp_path, monkeypatch):
    """The module opened in a scene with one slice view; gives the module test's class."""
    from slicer_headless.panel import application, panel_widget

    monkeypatch.syspath_prepend(str(TESTS))
    headless.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode").SetSingletonTag("Red")
    with panel_widget(headless, tmp_path / "settings.ini") as widget:
        with (
            mock.patch.object(slicer.util, "selectModule", side_effect=lambda _name: widget.enter(), create=True),
            mock.patch.object(slicer.util, "getModuleWidget", return_value=widget, create=True),
            mock.patch.object(slicer.app, "processEvents", application().processEvents, create=True),
        ):
            yield getattr(importlib.import_module(NAME), NAME)
        for name in (NAME, "tiny_server"):
            sys.modules.pop(name, None)


def test_the_module_test_passes(as_the_application):
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(as_the_application)
    told = io.StringIO()
    result = unittest.TextTestRunner(told, verbosity=2).run(suite)
    assert result.wasSuccessful(), told.getvalue()
    assert result.testsRun == 4
    assert result.skipped == []


def test_cmake_runs_the_module_test():
    assert f"slicer_add_python_unittest(SCRIPT {NAME}.py)" in (TESTS / "CMakeLists.txt").read_text()
    assert {path.name for path in TESTS.glob("*.py")} == {f"{NAME}.py", "tiny_server.py"}


def test_the_tiny_server_says_what_it_should(monkeypatch, tmp_path):
    """Its image, heatmap and finding agree, read by other libraries than the panel's."""
    import nrrd
    import requests

    monkeypatch.syspath_prepend(str(TESTS))
    tiny = importlib.import_module("tiny_server")
    with tiny.tiny_server() as server:
        image = requests.get(f"{server.address}/datastore/image?image={tiny.CASE}", timeout=5).content
        reply = requests.post(f"{server.address}/infer/{tiny.TASK}", data=b"", timeout=5)
        assert requests.get(f"{server.address}/reviews/another", timeout=5).status_code == 404
    sys.modules.pop("tiny_server")
    file = tmp_path / "answer.nrrd"
    file.write_bytes(image)
    voxels, header = nrrd.read(str(file))
    assert voxels.shape == (12, 10, 8)
    assert voxels[0, 0, 0] == 0
    assert voxels[5, 4, 3] == 5 + 4 + 3 + 40
    np.testing.assert_array_equal(header["space directions"], np.diag([-1.0, -1.5, 2.0]))
    assert b'"peak_index": [5, 4, 3]' in reply.content
    file.write_bytes(reply.content.split(b"\r\n\r\n")[2].rsplit(b"\r\n--tiny--", 1)[0])
    heatmap, _header = nrrd.read(str(file))
    assert tuple(np.unravel_index(heatmap.argmax(), heatmap.shape)) == (5, 4, 3)
    inside = np.argwhere(heatmap > tiny.THRESHOLD)
    assert inside.min(axis=0).tolist() == [4, 3, 2]
    assert inside.max(axis=0).tolist() == [7, 5, 4]
