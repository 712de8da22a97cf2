"""What the client's tests share: programs, servers, harnesses."""

from pathlib import Path

SUPPORT = Path(__file__).parent
REPOSITORY = SUPPORT.parents[3]
