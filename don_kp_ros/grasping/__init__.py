"""Grasping: the motion port, the embedded planner, height maps and grasp candidates."""
