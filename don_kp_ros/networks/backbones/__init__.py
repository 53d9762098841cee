"""The pretrainable bodies of descriptor networks, behind one interface."""
