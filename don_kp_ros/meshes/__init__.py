"""Surfaces of triangles: read from files, simplified, measured and drawn."""
