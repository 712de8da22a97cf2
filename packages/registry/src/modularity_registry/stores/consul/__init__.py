"""Records in Consul's key/value store."""
