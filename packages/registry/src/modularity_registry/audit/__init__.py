"""The audit: a file with a line of JSON for every change and every refusal.

It is for people who ask, later, who did that. The log is for whoever runs the registry
now: it may be left out, bounded by its level, and lost with the process.
"""

from modularity_registry.audit.rotating_file import AuditFile, check
from modularity_registry.audit.writer import OFF, Audit

__all__ = ["OFF", "Audit", "AuditFile", "check"]
