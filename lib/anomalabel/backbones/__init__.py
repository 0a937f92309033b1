"""Image-text models behind one small protocol."""
