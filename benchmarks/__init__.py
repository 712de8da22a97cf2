"""Measures the registry beside Consul, etcd and nginx."""
