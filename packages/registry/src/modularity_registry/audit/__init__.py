"""The audit: a file with a line of JSON for every change and every refused call.

It answers later who did what. The log is for operating the registry now: its level
limits it, and it may be lost with the process.
"""

from modularity_registry.audit.rotating_file import AuditFile, check
from modularity_registry.audit.writer import OFF, Audit, NamespaceAudit

__all__ = ["OFF", "Audit", "AuditFile", "NamespaceAudit", "check"]
