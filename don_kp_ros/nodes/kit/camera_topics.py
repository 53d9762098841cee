"""The camera's topics, as realsense2_camera names them: relative to the node's namespace."""

NAMESPACE = 'camera/camera'
COLOUR_TAIL = '/color/image_raw'
COLOUR = f'{NAMESPACE}{COLOUR_TAIL}'
COLOUR_INFO = f'{NAMESPACE}/color/camera_info'
DEPTH = f'{NAMESPACE}/aligned_depth_to_color/image_raw'
DEPTH_INFO = f'{NAMESPACE}/aligned_depth_to_color/camera_info'
ALL = (COLOUR, COLOUR_INFO, DEPTH, DEPTH_INFO)
