"""What both launchers need of the operating system: a free port, a user without rights, a way to freeze a process.

Owns no service. Everything is addressed by process id, never by name.
"""

import os
import pwd
import socket
import time

import psutil


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def unprivileged() -> pwd.struct_passwd | None:
    """Who runs Postgres when the tests run as root, which it refuses; None when they do not."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def freeze(pid: int) -> None:
    """SIGSTOP to `pid` and all its descendants: the service hangs, its port still accepts (parent first: no forks)."""
    parent = psutil.Process(pid)
    parent.suspend()
    for child in parent.children(recursive=True):
        child.suspend()


def thaw(pid: int) -> None:
    """Undo `freeze`."""
    parent = psutil.Process(pid)
    for child in parent.children(recursive=True):
        child.resume()
    parent.resume()


def kill_tree(pid: int) -> None:
    """SIGKILL to `pid` and all its descendants; returns when none of them runs (init may not have reaped them yet)."""
    parent = psutil.Process(pid)
    parent.suspend()
    family = [parent, *parent.children(recursive=True)]
    for member in family:
        member.kill()
    while any(_runs(member) for member in family):
        time.sleep(0.002)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
