"""The authority: root certificates, and the certificates that they sign."""
