"""The use of each instance of a kind: no object of a trial is in the training pictures."""

TRAINING = range(0, 100_000)
VALIDATION = range(100_000, 200_000)
UNSEEN = range(200_000, 300_000)
"""Objects of the grasp trials and benchmarks: in no training or validation picture."""
