"""The command ``audit``: who did what, from an audit file."""
