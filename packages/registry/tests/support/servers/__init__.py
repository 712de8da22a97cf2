"""Real servers for the tests: found, started on free ports, stopped by process id."""
