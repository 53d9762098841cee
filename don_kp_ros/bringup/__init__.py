"""Start the stack: its nodes and launch arguments, once, and their processes."""
