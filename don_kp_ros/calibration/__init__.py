"""Where a camera sits on the hand or beside the robot: hand-eye calibration with a ChArUco board."""
