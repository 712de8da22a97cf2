"""What the calls about tokens return."""

from modularity_client.token_calls import IssuedToken, Token

__all__ = ["IssuedToken", "Token"]
