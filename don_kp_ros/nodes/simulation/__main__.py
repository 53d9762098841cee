"""Run the node: ``python -m don_kp_ros.nodes.simulation``."""

from don_kp_ros.nodes.simulation.node import main

raise SystemExit(main())
