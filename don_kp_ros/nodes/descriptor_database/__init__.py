"""The descriptor database node."""
