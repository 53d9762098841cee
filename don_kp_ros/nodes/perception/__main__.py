"""Run the node: ``python -m don_kp_ros.nodes.perception``."""

from don_kp_ros.nodes.perception.node import main

raise SystemExit(main())
