"""Qualities of service, by what they are for."""

from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data

# To subscribe to a camera: takes what drivers publish, reliable or not (REP 2003).
SENSOR = qos_profile_sensor_data
# To publish results: readers may choose best effort or reliable.
RESULT = QoSProfile(depth=2)
# For state that a late reader must get at once.
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TF = QoSProfile(depth=100)
TF_STATIC = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
