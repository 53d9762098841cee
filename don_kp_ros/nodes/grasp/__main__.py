"""Run the node: ``python -m don_kp_ros.nodes.grasp``."""

from don_kp_ros.nodes.grasp.node import main

raise SystemExit(main())
