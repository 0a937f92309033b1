"""AnomaLabel: shows where a medical image departs from health, and learns from what the annotator answers."""

__version__ = "0.1.0"
