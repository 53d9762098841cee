"""Find described points in an image: exact heatmaps on the low-resolution map, their peaks, pictures."""
