"""The robots: presets read from config/robots, and the MuJoCo model of the Panda."""
