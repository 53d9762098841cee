"""The units that meshes of files are in."""

UNITS = {'m': 1.0, 'cm': 0.01, 'mm': 0.001}
