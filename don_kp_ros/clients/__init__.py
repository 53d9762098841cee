"""Ask the running stack on the command line, without a ROS installation."""
