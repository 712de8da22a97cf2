"""Starts the registry: ``python registry_service.py --help`` tells how."""

from modularity_registry.cli.serve import serve

if __name__ == "__main__":
    serve()
