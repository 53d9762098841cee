"""Recordings as rosbag2 keeps them, written and read without a ROS installation."""
