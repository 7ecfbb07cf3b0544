"""What a reader sees of samples: excerpts and grids."""
