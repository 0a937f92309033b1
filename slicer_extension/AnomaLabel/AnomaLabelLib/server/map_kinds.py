"""The maps that some methods give beside their heatmap, by the names that requests, replies and the scene call them."""

UNCERTAINTY = "uncertainty"
"""How unsure the method is of its heatmap."""

SALIENCY = "saliency"
"""What decided where the method looked."""

RECONSTRUCTION = "reconstruction"
"""What the method believes healthy looks like."""

MAP_KINDS = (UNCERTAINTY, SALIENCY, RECONSTRUCTION)
