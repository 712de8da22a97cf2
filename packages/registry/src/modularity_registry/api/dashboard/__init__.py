"""The dashboard: the page at `GET /` and the scripts and styles that it loads."""
