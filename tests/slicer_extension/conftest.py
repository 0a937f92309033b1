"""Fixtures on slicer-core: a scene as the application gives it, and a check that slices can be drawn here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXTENSION = Path(__file__).resolve().parents[2] / "slicer_extension"
for folder in (EXTENSION, EXTENSION / "AnomaLabel", Path(__file__).parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture
def headless():
    """A fresh scene with its logics."""
    from slicer_headless.scene import headless_scene

    with headless_scene() as made:
        yield made


@pytest.fixture
def scene(headless):
    """The fresh scene itself."""
    return headless.scene


@pytest.fixture(scope="session")
def offscreen():
    """Skips where the system packages for offscreen rendering are missing."""
    # In a process of its own: without any of them VTK may end the process.
    code = "import sys; from slicer_headless.slice_view import rendering_works; sys.exit(0 if rendering_works() else 1)"
    outcome = subprocess.run([sys.executable, "-c", code], cwd=EXTENSION, capture_output=True, timeout=60)
    if outcome.returncode:
        pytest.skip("offscreen rendering needs one of the system packages libegl1, libosmesa6, xvfb")
