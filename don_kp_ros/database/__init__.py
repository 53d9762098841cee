"""Stored descriptors: named points that outlive the process that saw them."""
