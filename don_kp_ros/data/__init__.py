"""Image folders and synthetic view pairs."""
