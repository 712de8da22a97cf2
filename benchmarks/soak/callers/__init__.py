"""Who calls the registry, each in a module of its own."""
