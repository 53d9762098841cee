"""How well descriptors find points: PCK, AUC, and transfer between pictures."""
