"""Reconstruction by inpainting: hide what is suspected, restore it as healthy, compare (clap.txt section 2.2)."""
