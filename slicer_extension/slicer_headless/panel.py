"""The module's real widget code on PySide6, with stand-ins for what only the application has."""

from __future__ import annotations

import importlib
import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import slicer

from .scene import MODULE_FOLDER, HeadlessScene, make_importable

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtUiTools import QUiLoader

from .panel_widgets import STAND_INS

PAUSE_MS = 5
WIDGET_MODULES = frozenset({"AnomaLabel", "AnomaLabelWidgets"})
UI_FILE = MODULE_FOLDER / "Resources" / "UI" / "AnomaLabel.ui"


def application() -> QtWidgets.QApplication:
    """The process's Qt application, made on the first call, with a look that does not depend on the desktop."""
    app = QtWidgets.QApplication.instance()
    if app is None:
        app = QtWidgets.QApplication([])
        app.setStyle("Fusion")
        app.setPalette(_light_palette())
    return app


def wait_for(is_done: Callable[[], bool], patience_s: float) -> bool:
    """Let the panel's timers run until something is the case; whether it came in time."""
    end = time.monotonic() + patience_s
    while not is_done() and time.monotonic() < end:
        application().processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, PAUSE_MS)
        time.sleep(PAUSE_MS / 1000)
    return is_done()


def load_ui(path: str | Path) -> QtWidgets.QWidget:
    """Load a .ui file with the stand-in widgets."""
    loader = QUiLoader()
    for stand_in in STAND_INS:
        loader.registerCustomWidget(stand_in)
    widget = loader.load(str(path))
    if widget is None:
        raise RuntimeError(f"{path}: {loader.errorString()}")
    return widget


def child_widgets(panel: QtWidgets.QWidget) -> SimpleNamespace:
    """The named widgets of a panel, as `slicer.util.childWidgetVariables` gives them in the application."""
    named = {child.objectName(): child for child in panel.findChildren(QtWidgets.QWidget)}
    return SimpleNamespace(**{name: child for name, child in named.items() if name.isidentifier()})


@contextmanager
def panel_widget(
    headless: HeadlessScene, settings_file: Path, client_for: Callable[[str, object], object] | None = None
) -> Iterator[object]:
    """The `AnomaLabelWidget` of `AnomaLabel.py`, set up on a headless scene; `parent` is its window.

    Args:
        settings_file: where the application would keep the user's settings.
        client_for: makes a client from an address and the user's settings, in place of the module's own.
    """
    application()
    make_importable()
    settings = QtCore.QSettings(str(settings_file), QtCore.QSettings.Format.IniFormat)
    app = SimpleNamespace(
        userSettings=lambda: settings,
        slicerUserSettingsFilePath=str(settings_file),
        applicationLogic=lambda: headless.application,
    )
    with (
        mock.patch.dict(sys.modules, {"qt": _qt(), "slicer.ScriptedLoadableModule": _module_base()}),
        mock.patch.object(slicer, "app", app, create=True),
        mock.patch.object(slicer.util, "loadUI", load_ui),
        mock.patch.object(slicer.util, "childWidgetVariables", child_widgets),
    ):
        _forget_widgets()
        widget = importlib.import_module("AnomaLabel").AnomaLabelWidget()
        if client_for is not None:
            widget.client_for = client_for
        widget.setup()
        try:
            yield widget
        finally:
            widget.cleanup()
            _forget_widgets()


def _forget_widgets() -> None:
    """The widget code is read anew each time, since it imports the stand-ins."""
    for name in [name for name in sys.modules if name.split(".")[0] in WIDGET_MODULES]:
        del sys.modules[name]


def _qt() -> types.ModuleType:
    """One flat module of Qt names, as PythonQt offers them."""

    def find(name: str) -> object:
        for part in (QtCore, QtGui, QtWidgets):
            if hasattr(part, name):
                return getattr(part, name)
        raise AttributeError(name)

    module = types.ModuleType("qt")
    module.__getattr__ = find
    return module


def _module_base() -> types.ModuleType:
    module = types.ModuleType("slicer.ScriptedLoadableModule")

    class ScriptedLoadableModule:
        def __init__(self, parent) -> None:
            self.parent = parent

    class ScriptedLoadableModuleWidget:
        def __init__(self, parent=None) -> None:
            self.parent = parent or QtWidgets.QWidget()
            self.layout = QtWidgets.QVBoxLayout(self.parent)
            self.layout.setContentsMargins(6, 6, 6, 6)

        def setup(self) -> None:
            """Slicer adds its reload buttons here."""

        def resourcePath(self, name: str) -> str:
            return str(MODULE_FOLDER / "Resources" / name)

    class ScriptedLoadableModuleTest:
        pass

    for kind in (ScriptedLoadableModule, ScriptedLoadableModuleWidget, ScriptedLoadableModuleTest):
        setattr(module, kind.__name__, kind)
    return module


def _light_palette() -> QtGui.QPalette:
    role = QtGui.QPalette.ColorRole
    palette = QtGui.QPalette(QtGui.QColor("#f4f5f7"))
    palette.setColor(role.Base, QtGui.QColor("#ffffff"))
    palette.setColor(role.AlternateBase, QtGui.QColor("#eef2f7"))
    palette.setColor(role.Highlight, QtGui.QColor("#2f6fb2"))
    palette.setColor(role.HighlightedText, QtGui.QColor("#ffffff"))
    return palette
