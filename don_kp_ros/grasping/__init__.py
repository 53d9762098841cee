"""Grasping: candidates from a point cloud, and the pick from plan to lift."""
