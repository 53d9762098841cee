"""The demo: grasp trials in simulation, run and judged."""
