"""What listens."""

import asyncio
import socket

from tailorbird.config import load_config
from tailorbird.serve.server import listen


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
