"""The grasp node."""
