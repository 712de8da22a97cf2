"""How services, their checks and the node are read, and waited for."""
