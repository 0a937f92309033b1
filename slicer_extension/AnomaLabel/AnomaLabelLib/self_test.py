"""Runs the module's own tests from inside the application, as its button "Reload and Test" asks for."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path


def run_module_tests(folder: Path) -> int:
    """Run every test of a folder and tell on the console; returns how many ran.

    Args:
        folder: holds files named `...Test.py`; a module that was loaded from its sources has it beside it.

    Raises:
        AssertionError: a test failed, or there is none.
    """
    # Read anew each time: what Python still knows of the files may be older than they are.
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)
    before = list(sys.path)
    try:
        suite = unittest.TestLoader().discover(str(folder), "*Test.py", str(folder)) if folder.is_dir() else None
        result = unittest.TextTestRunner(sys.stdout, verbosity=2).run(suite) if suite is not None else None
    finally:
        sys.path[:] = before
    if result is None or result.testsRun == 0:
        raise AssertionError(f"{folder} holds no tests: load the module from the folder of its sources.")
    if not result.wasSuccessful():
        raise AssertionError(f"{len(result.failures) + len(result.errors)} of {result.testsRun} tests failed.")
    return result.testsRun
