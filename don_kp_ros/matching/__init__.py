"""Find described points in an image: exact heatmaps, their peaks, and pictures of them."""
