"""What the tests of proxies share."""
