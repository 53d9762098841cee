"""The ways in which a hand is moved, one module each."""
