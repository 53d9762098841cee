"""Studies: train models, and compare them by the protocols of evaluation."""
