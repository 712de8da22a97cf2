"""The bodies of requests and replies, as JSON Schema."""
