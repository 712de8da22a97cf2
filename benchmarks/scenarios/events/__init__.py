"""Changes, and how soon those who watch have them."""
