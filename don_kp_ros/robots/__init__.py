"""The robots: presets, shipped and of the user, and the MuJoCo model of the Panda."""
