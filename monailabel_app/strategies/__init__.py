"""The worklist's orders as MONAI Label's active-learning strategies."""
