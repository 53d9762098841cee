"""The parts of the descriptor database node."""
