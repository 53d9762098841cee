"""Objects as constellations of descriptors: taught from views, found again with their 6D poses."""
