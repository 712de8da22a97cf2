"""The mark of a call that no further registry may be asked for."""

from typing import Final

LOCAL_ONLY: Final = "X-Registry-Local-Only"
"""The header of a call that a registry answers from its own services alone."""
