"""Which caps are for what: no cap that is judged was ever learned from."""

TRAINING_CAPS = range(0, 100_000)
VALIDATION_CAPS = range(100_000, 200_000)
UNSEEN_CAPS = range(200_000, 300_000)
"""Caps of the grasp trials: in no training or validation picture."""
