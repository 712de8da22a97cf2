"""The commands of the mesh: a sidecar in one command, intentions, the authority."""
