"""Where the robot works: a table whose top is z = 0 of the base frame; metres in that frame."""

# What stands here is mapped and avoided.
X_RANGE, Y_RANGE = (0.2, 0.85), (-0.5, 0.5)
# The table for MoveIt: in front of the robot, whose base would touch it otherwise.
TABLE_CENTRE, TABLE_SIZE = (0.75, 0.0, -0.05), (1.0, 1.6, 0.1)
