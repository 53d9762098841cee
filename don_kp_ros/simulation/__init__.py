"""The simulated world: robot, objects, camera. Only its own node and judges may look inside."""
