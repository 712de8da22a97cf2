"""The program as its script starts it."""

from modularity_registry.cli.main import main

if __name__ == "__main__":
    main(prog_name="modularity-registry")
