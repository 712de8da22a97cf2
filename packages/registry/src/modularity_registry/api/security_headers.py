"""What every reply tells a browser, so that it does nothing with it but show it."""

from flask import Flask, Response

from modularity_registry.config import Settings

Headers = list[tuple[str, str]]

NOSNIFF = ("X-Content-Type-Options", "nosniff")
"""A reply is what its type says, whatever its text looks like."""

# Who shows a token gets what is theirs alone: nobody on the way may keep it.
NO_STORE = ("Cache-Control", "no-store")
# What a browser's page may read depends on where that page is from (Fetch, 3.3.5).
VARY = ("Vary", "Origin, X-Zone")

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
}


def page(**more: str) -> dict[str, str]:
    """Return the headers of a page and of what it loads.

    Nothing but what comes from here, no script and no style within the page, and no
    other page has a hold of it. ``more`` are parts of its Content-Security-Policy,
    with underscores for hyphens, that take the place of the usual ones.
    """
    policy = _POLICY | {name.replace("_", "-"): value for name, value in more.items()}
    return {
        "Content-Security-Policy": "; ".join(map(" ".join, policy.items())),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), display-capture=(), geolocation=(),"
        " microphone=(), payment=(), usb=()",
        # Kept, but asked for again each time: a new version must not meet an old half.
        "Cache-Control": "no-cache",
    }


def of_replies(settings: Settings) -> Headers:
    """Return what every reply of the API carries, in this order."""
    return [NOSNIFF, VARY, NO_STORE] if settings.auth else [NOSNIFF, VARY]


def install(app: Flask, settings: Settings) -> None:
    """Put them on every reply of ``app``; a route's own take precedence."""
    fixed = of_replies(settings)

    @app.after_request
    def mark(response: Response) -> Response:
        for name, value in fixed:
            response.headers.setdefault(name, value)
        return response
