"""HAProxy's answers: one that has no end is given up."""

import asyncio
from pathlib import Path

import pytest

from modularity_registry.cli.proxies.haproxy_socket import (
    MOST_BYTES,
    HAProxyError,
    HAProxySocket,
)
from support.loops import on_loop


@on_loop
async def test_an_answer_is_bounded() -> None:
    for size in (MOST_BYTES, MOST_BYTES + 1):
        reader = asyncio.StreamReader()
        reader.feed_data(b"x" * size)
        reader.feed_eof()
        answer = HAProxySocket(Path("socket"))._answer(reader)
        if size <= MOST_BYTES:
            assert len(await answer) == size
        else:
            with pytest.raises(HAProxyError, match="the answer is over 16,777,216 B"):
                await answer
