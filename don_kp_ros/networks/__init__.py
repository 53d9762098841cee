"""Descriptor networks and their checkpoints."""
