"""HTTP routes: ours, and those of MONAI Label that are safe to keep."""
