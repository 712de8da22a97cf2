"""The command ``init``: writes a module to begin with."""
