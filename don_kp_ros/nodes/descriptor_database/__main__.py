"""Run the node: ``python -m don_kp_ros.nodes.descriptor_database``."""

from don_kp_ros.nodes.descriptor_database.node import main

raise SystemExit(main())
