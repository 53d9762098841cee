"""Where a camera is, on the hand or beside the robot: calibration with a ChArUco board."""
