"""The use of each cap: no cap of a trial is in the training pictures."""

TRAINING_CAPS = range(0, 100_000)
VALIDATION_CAPS = range(100_000, 200_000)
UNSEEN_CAPS = range(200_000, 300_000)
"""Caps of the grasp trials: in no training or validation picture."""
