"""Grasping: candidates from what is seen, and the pick from plan to lift."""
