"""The U-Net of reconstruction by inpainting, and how it learns from healthy images."""
