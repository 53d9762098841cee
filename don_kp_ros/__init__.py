"""Learn, find and grasp named points on objects."""
