"""Everything the AnomaLabel panel does besides drawing itself: no Qt, only what ships inside 3D Slicer."""

__version__ = "0.1.0"
