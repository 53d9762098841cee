"""The simulation node."""
