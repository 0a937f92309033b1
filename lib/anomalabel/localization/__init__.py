"""From anomaly maps to findings."""
