"""Records in an etcd cluster."""
