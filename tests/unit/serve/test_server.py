"""What listens."""

import asyncio
import socket
import sys

import psutil
import pytest

from tailorbird.config import load_config
from tailorbird.serve.fastapi_app import return_memory
from tailorbird.serve.uvicorn_server import listen


def test_answers_of_two_packets_do_not_wait_for_each_other() -> None:
    """Nagle's algorithm would hold every body back for the 40 ms of a delayed acknowledgement."""
    bound = listen(load_config(flags={"serve.port": 0}))

    async def ask() -> int:
        switched = asyncio.get_running_loop().create_future()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            link = writer.get_extra_info("socket")
            switched.set_result(link.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        server = await asyncio.start_server(connected, sock=bound)
        async with server:
            _, writer = await asyncio.open_connection(*bound.getsockname()[:2])
            option: int = await switched
            writer.close()
            return option

    assert asyncio.run(ask())


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_holes_between_what_stays_are_given_back() -> None:
    process = psutil.Process()
    blocks = [b"x" * (100_000 + i) for i in range(800)]
    stay = [b"x" * 2000 for _ in range(10)]
    for place in range(0, 800, 8):  # what stays lies between what goes
        stay.append(blocks[place])
    del blocks
    before = process.memory_info().rss
    return_memory()
    assert before - process.memory_info().rss > 35e6  # of 70 MB; some was given back by itself
    assert len(stay) == 110
