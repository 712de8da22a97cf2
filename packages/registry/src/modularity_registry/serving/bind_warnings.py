"""Warnings about the address that the registry listens on."""

from modularity_registry.config import OFF, Settings
from modularity_registry.network.listen_address import authority, on_loopback


def warnings(settings: Settings) -> list[str]:
    """Return what is dangerous about the address, in sentences; empty on loopback.

    One for a registry that is open to all who reach it, one for tokens that anyone
    listens on the way can read.
    """
    if on_loopback(settings.host):
        return []
    address = authority(settings.host, settings.port)
    messages = []
    if settings.debug:
        messages.append(
            f"--debug is on, and {address} can be reached from elsewhere: the log has"
            " every call, and errors have tracebacks for callers on this machine; leave"
            " out --debug in production"
        )
    if not settings.auth and settings.tls_client_ca == OFF:
        messages.append(
            f"anyone who can reach {address} may register, change and remove"
            " everything; add --auth, or listen on 127.0.0.1 alone"
        )
    if settings.auth and settings.tls_cert == OFF and settings.trusted_proxies == OFF:
        messages.append(
            f"tokens reach {address} unencrypted, for anyone on the network to read;"
            " add --tls-cert and --tls-key, or a proxy that speaks TLS and"
            " --trusted-proxies with its address"
        )
    return messages
