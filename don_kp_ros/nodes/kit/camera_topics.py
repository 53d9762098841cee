"""The camera's topics, as realsense2_camera names them: relative to the node's namespace."""

COLOUR = 'camera/camera/color/image_raw'
COLOUR_INFO = 'camera/camera/color/camera_info'
DEPTH = 'camera/camera/aligned_depth_to_color/image_raw'
DEPTH_INFO = 'camera/camera/aligned_depth_to_color/camera_info'
ALL = (COLOUR, COLOUR_INFO, DEPTH, DEPTH_INFO)
