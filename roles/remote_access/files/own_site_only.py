# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands before kubectl proxy, and keeps out pages of other sites that a permitted browser shows.

kubectl proxy looks at the name by which it is asked (``--accept-hosts``), not at who asks. A browser says it
in ``Origin``, wherever a page of another site could change something, or read what comes: by a WebSocket, in
which the API server sends what it has to any page.

    own_site_only.py --address 10.0.0.11 --port 8080 --socket PATH -- kubectl proxy --unix-socket PATH ...

runs that command, and ends with it. Each connection carries one request: its head is read and checked, and
the rest is passed on as it comes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from typing import NamedTuple

HEAD_BYTES = 65536
HEAD_SECONDS = 60
CONNECT_SECONDS = 10
#: How long what a client still sends is read after the last of its answer; else the answer could be lost.
LINGER_SECONDS = 5
CHUNK = 65536
#: What a browser says of a request that comes from elsewhere.
ELSEWHERE = ("cross-site", "same-site")


class Refusal(NamedTuple):
    """Why a request is not passed on."""

    status: str
    reason: str


class Head(NamedTuple):
    """The first lines of a request."""

    request: str
    fields: list[tuple[str, str]]

    def values(self, name: str) -> list[str]:
        """Return the values of a field."""
        return [value for field, value in self.fields if field.lower() == name]


def parse(data: bytes) -> Head | None:
    """Read a head; None if it is none that a browser or a program of this time would send."""
    request, *lines = data.decode("latin-1").split("\r\n")[:-2]
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip() or "\n" in line or "\r" in line:
            return None
        fields.append((name, value.strip()))
    words = request.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1") or "\n" in request or "\r" in request:
        return None
    return Head(request, fields)


def refusal(head: Head) -> Refusal | None:
    """Say why a request is not passed on, if it is not."""
    hosts = head.values("host")
    if len(hosts) != 1:
        return Refusal("400 Bad Request", f"the request has {len(hosts)} fields Host; expected one")
    own = f"http://{hosts[0]}".lower()
    foreign = [origin for origin in head.values("origin") if origin.lower() != own]
    if foreign:
        return Refusal(
            "403 Forbidden",
            f"the Origin of the request is {foreign[0]}; expected none or {own}: other sites are kept out",
        )
    if any(value.lower() in ELSEWHERE for value in head.values("sec-fetch-site")):
        return Refusal("403 Forbidden", "the request comes from a page of another site; these are kept out")
    return None


def passed_on(head: Head) -> bytes:
    """Return the head as kubectl gets it: for a connection that ends with this request."""
    upgrade = any("upgrade" in value.lower() for value in head.values("connection"))
    lines = [
        f"{name}: {value}" for name, value in head.fields if name.lower() not in ("connection", "keep-alive")
    ]
    lines.append("Connection: Upgrade, close" if upgrade else "Connection: close")
    return "\r\n".join([head.request, *lines, "", ""]).encode("latin-1")


async def upwards(reader: asyncio.StreamReader, above: socket.socket) -> bool:
    """Pass on what the client sends, until no more comes; False if kubectl takes no more of it."""
    while data := await reader.read(CHUNK):
        try:
            await asyncio.get_running_loop().sock_sendall(above, data)
        except OSError:
            # It has answered without reading the rest, as it does when it refuses.
            return False
    return True


async def downwards(above: socket.socket, writer: asyncio.StreamWriter) -> None:
    """Pass on what kubectl answers, until no more comes."""
    while data := await asyncio.get_running_loop().sock_recv(above, CHUNK):
        writer.write(data)
        await writer.drain()


async def linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End the answer, and read what the client still sends: closed before, the connection would be reset."""

    async def read() -> None:
        while await reader.read(CHUNK):
            pass

    writer.write_eof()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(read(), LINGER_SECONDS)


async def answer(writer: asyncio.StreamWriter, told: Refusal) -> None:
    """Refuse a request."""
    body = f"{told.reason}\n".encode("utf-8", "replace")
    lines = (
        f"HTTP/1.1 {told.status}",
        "Content-Type: text/plain; charset=utf-8",
        "X-Content-Type-Options: nosniff",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    await writer.drain()


async def connect(path: str) -> socket.socket:
    """Connect to kubectl, which may have just been started.

    A socket, not streams: these throw away an answer that has come when what is sent is not taken any more.
    """
    end = time.monotonic() + CONNECT_SECONDS
    while True:
        above = socket.socket(socket.AF_UNIX)
        above.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(above, path)
        except OSError:
            above.close()
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)
        else:
            return above


async def serve(path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection."""
    try:
        data = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
    except (asyncio.TimeoutError, asyncio.IncompleteReadError):
        return
    except asyncio.LimitOverrunError:
        await answer(writer, Refusal("431 Request Header Fields Too Large", "the head is too large"))
        return
    head = parse(data)
    told = Refusal("400 Bad Request", "the request cannot be read") if head is None else refusal(head)
    if head is None or told is not None:
        await answer(writer, told or Refusal("400 Bad Request", ""))
        return
    try:
        above = await connect(path)
    except OSError:
        await answer(writer, Refusal("502 Bad Gateway", "kubectl proxy does not answer"))
        return
    with above:
        await pass_on(passed_on(head), reader, writer, above)


async def pass_on(
    head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, above: socket.socket
) -> None:
    """Pass on a request and its answer, until the answer has ended or the client is gone."""
    await asyncio.get_running_loop().sock_sendall(above, head)
    up = asyncio.ensure_future(upwards(reader, above))
    down = asyncio.ensure_future(downwards(above, writer))
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        if up.done() and not up.exception() and not up.result():
            # What it has answered is still to come.
            await asyncio.wait((down,))
    finally:
        for each in (up, down):
            each.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def connection(path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection, and close it whatever happens."""
    try:
        # One side may be gone at any time.
        with contextlib.suppress(OSError):
            await serve(path, reader, writer)
            await linger(reader, writer)
    finally:
        writer.close()


async def run(arguments: argparse.Namespace) -> int:
    """Run the command, and stand before it until it ends."""
    # One that was killed left it, and kubectl does not take its place.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(arguments.socket)
    server = await asyncio.start_server(
        lambda reader, writer: connection(arguments.socket, reader, writer),
        arguments.address,
        arguments.port,
        limit=HEAD_BYTES,
    )
    command = await asyncio.create_subprocess_exec(*arguments.command)

    def stop() -> None:
        # systemd tells both, and the command may be quicker.
        with contextlib.suppress(ProcessLookupError):
            command.terminate()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    code = await command.wait()
    server.close()
    return 0 if code == -signal.SIGTERM else code or 1


def main() -> None:
    """Read the arguments, and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--socket", required=True)
    parser.add_argument("command", nargs="+")
    sys.exit(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
