"""What the tests of other protocols share."""
