"""Views of samples for readers: browsing and grids."""
