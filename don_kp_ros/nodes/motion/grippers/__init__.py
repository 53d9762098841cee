"""The ways in which MoveIt's adapter moves a gripper, one module each."""
