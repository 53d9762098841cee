"""Run the simulation node: ``python -m don_kp_ros.nodes.simulation``."""

from don_kp_ros.nodes.simulation.node import main

if __name__ == '__main__':
    raise SystemExit(main())
