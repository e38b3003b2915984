# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run modules as processes of their own, without the time that each takes to load ansible-core's part of it.

A process has loaded that, and nothing of the collection; it forks for each run. A run has what a shell would
give it: standard input and output, environment, folder, and a session of its own.
"""

from __future__ import annotations

import array
import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests import timing

#: Seconds after which a run counts as one that hangs.
_LONGEST = 300

_SERVER = r"""
import array, atexit, json, os, runpy, socket, sys, threading
# What almost all modules load.
import ansible.module_utils.basic, ansible.module_utils.common.text.converters, ansible.module_utils.urls
import hashlib, http.client, ipaddress, random, tarfile, tempfile, urllib.parse, zipfile


def work(order, files):
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    # As at the start of Python, which reads them then.
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", errors="backslashreplace")
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    sys.path[1:1] = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path]
    option, name = order["words"][:2] if order["words"][0] == "-m" else ("", order["words"][0])
    sys.argv = [name, *order["words"][2 if option else 1 :]]
    if option:
        sys.path[0] = os.getcwd()
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.realpath(name))
        runpy.run_path(name, run_name="__main__")


def end(code):
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            pass
    os._exit(code)


channel = socket.socket(fileno=int(sys.argv[1]))
while True:
    length, kinds, _flags, _address = channel.recvmsg(8, socket.CMSG_SPACE(12))
    if not length:
        break
    files = array.array("i")
    files.frombytes(kinds[0][2][:12])
    order = json.loads(channel.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
    child = os.fork()
    if child:
        for file in files:
            os.close(file)
        _child, status, usage = os.wait4(child, 0)
        answer = [os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime]
        channel.sendall(json.dumps(answer).encode())
        continue
    channel.close()
    code = 1
    try:
        work(order, files)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    end(code)
"""


@functools.cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair()
    number = theirs.fileno()
    server = subprocess.Popen([sys.executable, "-c", _SERVER, str(number)], pass_fds=[number], cwd="/")
    theirs.close()
    ours.settimeout(_LONGEST)
    return ours, server


def stop() -> None:
    """End the process, so that what it took is known to who waits for this one."""
    if _server.cache_info().currsize:
        channel, server = _server()
        channel.close()
        server.wait()
        _server.cache_clear()


def run_python(
    words: Sequence[str | Path], *, text: str = "", environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a file, or ``-m`` and a module, with arguments, as Python would that is called with these words."""
    order = {"words": [str(word) for word in words], "environment": dict(environment), "folder": os.getcwd()}
    sent = json.dumps(order).encode()
    channel, _process = _server()
    with ExitStack() as stack:
        given, said, errors = (stack.enter_context(tempfile.TemporaryFile()) for _number in range(3))
        given.write(text.encode())
        given.seek(0)
        numbers = array.array("i", [file.fileno() for file in (given, said, errors)])
        files = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers.tobytes())]
        channel.sendmsg([len(sent).to_bytes(8, "big")], files)
        channel.sendall(sent)
        answer = channel.recv(100)
        assert answer, "the server of Python has ended"
        code, cpu = json.loads(answer)
        timing.ELSEWHERE.append(cpu)
        texts = []
        for file in (said, errors):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess([sys.executable, *order["words"]], code, *texts)
