"""``python -m modularity_registry`` is the command ``modularity-registry``."""

from modularity_registry.cli.main import main

if __name__ == "__main__":
    main()
