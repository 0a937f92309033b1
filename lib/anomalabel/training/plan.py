"""What one batch of the embedded model's training holds."""

from __future__ import annotations

from anomalabel.training.images import BatchPlan

PLAN = BatchPlan(
    singles={
        ("brain", "glioma"): 1,
        ("brain", "meningioma"): 1,
        ("brain", "pituitary"): 1,
        ("brain", "multiple sclerosis"): 1,
        ("brain", "healthy"): 1,
        ("breast", "benign"): 2,
        ("breast", "malignant"): 1,
        ("breast", "healthy"): 2,
        ("chest", "healthy"): 3,
        ("chest", "pneumonia"): 3,
    },
    planted={"brain": 2, "breast": 1, "chest": 1},
    crops={"brain": 3, "breast": 1},
    incomparable=frozenset({"glioma", "meningioma", "pituitary"}),
)
"""The tumours' source has no healthy images, so they are told from health by crops and patches alone."""
