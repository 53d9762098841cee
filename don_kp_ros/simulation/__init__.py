"""The simulated world: robot, objects, camera. Only its node and the judges may use it."""
