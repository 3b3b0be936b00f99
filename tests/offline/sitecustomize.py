"""Ends the process at the first attempt to reach another machine.

Python imports this file at its start when the folder is on PYTHONPATH, as it is while the
lessons are run by the tests. An exception could be swallowed by a library that tries a hub and
carries on without it, so the process is ended outright: a kernel that dies fails its lesson.
"""

import os
import socket
import sys

LOOPBACK = {"localhost", "::1", "0.0.0.0", "::", "", None, socket.gethostname()}  # noqa: S104


def _stays_here(host):
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    return host in LOOPBACK or str(host).startswith("127.")


def _guard(event, arguments):
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = arguments[1]  # of sendmsg on a connected socket None
        host = address[0] if isinstance(address, tuple) else None  # a name is a local socket
    elif event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        host = arguments[0]
    else:
        return
    if not _stays_here(host):
        os.write(2, f"{event}: this run may not reach {host!r}\n".encode())
        os._exit(97)


sys.addaudithook(_guard)
