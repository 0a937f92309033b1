"""The application's button "Reload and Test": it runs the files as they are now and fails when one of them does."""

from __future__ import annotations

import sys

import pytest
from AnomaLabelLib.self_test import run_module_tests

TEST = """
import unittest
from {helper} import VALUE

class {name}(unittest.TestCase):
    def test_value(self):
        self.assertEqual(VALUE, 3)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "planted_helper.py").write_text("VALUE = 3\n")
    (tmp_path / "PlantedTest.py").write_text(TEST.format(helper="planted_helper", name="PlantedTest"))
    yield tmp_path
    for name in ("planted_helper", "PlantedTest"):
        sys.modules.pop(name, None)


def test_tests_run_and_leave_the_import_path_as_it_was(folder, capsys):
    before = list(sys.path)
    assert run_module_tests(folder) == 1
    assert sys.path == before
    assert "test_value" in capsys.readouterr().out


def test_a_failure_is_an_error_and_changed_files_are_read_anew(folder):
    assert run_module_tests(folder) == 1
    (folder / "planted_helper.py").write_text("VALUE = 4444\n")
    with pytest.raises(AssertionError, match="1 of 1 tests failed"):
        run_module_tests(folder)


def test_nothing_to_run_is_no_success(tmp_path):
    with pytest.raises(AssertionError, match="holds no tests"):
        run_module_tests(tmp_path)
    with pytest.raises(AssertionError, match="load the module from the folder of its sources"):
        run_module_tests(tmp_path / "Testing" / "Python")
