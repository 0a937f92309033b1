# ruff: noqa: N801, N815
"""Plain Qt stand-ins for the CTK and MRML widgets of the panel, with the same properties, methods and signals."""

from __future__ import annotations

from PySide6.QtCore import Property, Qt, Signal
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox, QFrame, QHBoxLayout, QSlider, QWidget

SLIDER_STEPS = 1000
TITLE_HEIGHT = 26


class ctkCollapsibleButton(QFrame):
    """A titled box around its contents."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self.setContentsMargins(0, TITLE_HEIGHT, 0, 0)

    def _get_text(self) -> str:
        return self._text

    def _set_text(self, text: str) -> None:
        self._text = text
        self.update()

    text = Property(str, _get_text, _set_text)

    def paintEvent(self, event) -> None:
        """Draw frame and title as CTK does."""
        from PySide6.QtGui import QColor, QPainter, QPalette

        painter = QPainter(self)
        painter.setPen(self.palette().color(QPalette.ColorRole.Mid))
        painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.fillRect(1, 1, self.width() - 2, TITLE_HEIGHT - 4, QColor("#dfe5ee"))
        painter.setPen(QColor("#1f2d3d"))
        font = painter.font()
        font.setBold(True)
        painter.setFont(font)
        title = self.rect().adjusted(8, 0, 0, 0)
        title.setHeight(TITLE_HEIGHT - 2)
        painter.drawText(title, Qt.AlignmentFlag.AlignVCenter, f"\u25be  {self._text}")
        painter.end()


class ctkSliderWidget(QWidget):
    """A slider with a number beside it."""

    valueChanged = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(0, SLIDER_STEPS)
        self._box = QDoubleSpinBox()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider)
        row.addWidget(self._box)
        self._box.valueChanged.connect(self._on_number)

    def _on_number(self, value: float) -> None:
        low, high = self._box.minimum(), self._box.maximum()
        self._slider.setValue(round(SLIDER_STEPS * (value - low) / (high - low)) if high > low else 0)
        self.valueChanged.emit(value)

    def setRange(self, low: float, high: float) -> None:
        """Smallest and largest value."""
        self._box.setRange(low, high)
        self._on_number(self._box.value())

    def setDecimals(self, count: int) -> None:
        """Digits after the point."""
        self._box.setDecimals(count)

    def setSingleStep(self, step: float) -> None:
        """What one turn of the wheel adds."""
        self._box.setSingleStep(step)

    def setValue(self, value: float) -> None:
        """The shown value."""
        self._box.setValue(value)

    minimum = Property(float, lambda self: self._box.minimum(), lambda self, v: self._box.setMinimum(v))
    maximum = Property(float, lambda self: self._box.maximum(), lambda self, v: self._box.setMaximum(v))
    value = Property(float, lambda self: self._box.value(), lambda self, v: self._box.setValue(v))
    decimals = Property(int, lambda self: self._box.decimals(), lambda self, v: self._box.setDecimals(v))
    singleStep = Property(float, lambda self: self._box.singleStep(), lambda self, v: self._box.setSingleStep(v))


def _remembered(name: str, kind: object) -> Property:
    """A property that is kept and has no effect."""
    return Property(kind, lambda self: self._values.get(name), lambda self, value: self._values.update({name: value}))


class qMRMLNodeComboBox(QComboBox):
    """Lists the scene's nodes of the wanted classes when it is asked for one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = None
        self._node = None
        self._values: dict[str, object] = {}

    def setMRMLScene(self, scene) -> None:
        """The scene to list."""
        self._scene = scene

    def setCurrentNode(self, node) -> None:
        """Pick a node."""
        self._node = node
        self.clear()
        self.addItem(node.GetName() if node else "")

    def currentNode(self):
        """The picked node, or None."""
        return self._node

    nodeTypes = _remembered("nodeTypes", "QStringList")
    showChildNodeTypes = _remembered("showChildNodeTypes", bool)
    addEnabled = _remembered("addEnabled", bool)
    removeEnabled = _remembered("removeEnabled", bool)
    renameEnabled = _remembered("renameEnabled", bool)
    noneEnabled = _remembered("noneEnabled", bool)


STAND_INS = (ctkCollapsibleButton, ctkSliderWidget, qMRMLNodeComboBox)
