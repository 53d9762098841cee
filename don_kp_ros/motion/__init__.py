"""Motion of an arm and a hand: the port, and the embedded planner behind one of its adapters."""
