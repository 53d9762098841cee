"""The simulated robot, camera and table as ROS nodes, and the judge of grasp trials."""
