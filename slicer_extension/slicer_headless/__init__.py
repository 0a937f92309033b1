"""Slicer's scene, slice views and this extension's panel without the application: for tests and pictures."""
