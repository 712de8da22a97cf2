"""What depends on the store, and on several replicas over it."""
