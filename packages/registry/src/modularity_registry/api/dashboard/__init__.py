"""The page for people: what `GET /` shows, written for browsers as they are."""
