"""Studies: models that are trained to be compared, measured by the protocols of evaluation."""
