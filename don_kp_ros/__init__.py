"""Learn, find and grasp named points on objects."""

import os

# MuJoCo reads it when it is imported, whoever is the first to do so: no display is needed.
os.environ.setdefault('MUJOCO_GL', 'egl')
