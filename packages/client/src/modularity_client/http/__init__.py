"""Calls over HTTP: requests, retries, credentials."""
