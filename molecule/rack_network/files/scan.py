"""Print the open TCP ports of each address given."""

import errno
import resource
import select
import socket
import sys
import time

AT_ONCE = 8000
PATIENCE = 0.6


def open_ports(address: str, ports: range) -> list[int]:
    """Connect to all ports at once and see which ones take it."""
    waiting = {}
    for port in ports:
        probe = socket.socket()
        probe.setblocking(False)
        if probe.connect_ex((address, port)) == errno.EINPROGRESS:
            waiting[probe.fileno()] = (port, probe)
        else:
            probe.close()
    poll = select.epoll()
    for descriptor in waiting:
        poll.register(descriptor, select.EPOLLOUT)
    found = []
    deadline = time.monotonic() + PATIENCE
    while waiting and (rest := deadline - time.monotonic()) > 0:
        for descriptor, _events in poll.poll(rest, AT_ONCE):
            poll.unregister(descriptor)
            port, probe = waiting.pop(descriptor)
            if probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found.append(port)
            probe.close()
    for _port, probe in waiting.values():
        probe.close()
    return found


resource.setrlimit(resource.RLIMIT_NOFILE, (2 * AT_ONCE, 2 * AT_ONCE))
for target in sys.argv[1:]:
    found = [
        port
        for first in range(1, 65536, AT_ONCE)
        for port in open_ports(target, range(first, min(first + AT_ONCE, 65536)))
    ]
    print(target, *found)
