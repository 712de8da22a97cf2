"""Records in ZooKeeper."""
