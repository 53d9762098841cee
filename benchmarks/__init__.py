"""What is measured, one command each: `make bench NAME=...`."""

import don_kp_ros  # noqa: F401  # which says how MuJoCo draws, before any of these imports MuJoCo
