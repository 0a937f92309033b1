"""What lies in the scene: results, boxes, maps, segments and the slice views that show them."""
