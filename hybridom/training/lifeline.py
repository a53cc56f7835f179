"""Every process of a job learns at once when another one has died.

Sums over processes cannot tell: with NCCL they wait for a dead process until their time is up, and
a process that computes or reads does not even wait. So process 0 holds a connection to each of the
others, which the operating system closes when the process at either end is gone, whatever ended it.
"""

from __future__ import annotations

import logging
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from contextlib import suppress

import torch.distributed as dist

from hybridom.training import failure

log = logging.getLogger(__name__)

KEY = "hybridom/lifeline"
FAREWELL = b"."  # said by a process that ends as it should
GRACE = 5.0  # seconds in which a process may end by itself once another has died
CONNECT = 10.0  # seconds for a connection to come about


class Lifeline:
    """Watches the other processes of a job in a thread, and ends this one with them.

    Args:
        store: Where all processes meet.
        rank: Number of this process.
        size: Number of processes.

    Attributes:
        lost: Set once another process has died.
        message: What there is to say about it.
    """

    def __init__(self, store: dist.Store, rank: int, size: int) -> None:
        self.rank = rank
        self.lost = threading.Event()
        self.message = ""
        self._closed = False
        self._others: dict[socket.socket, int] = {}
        self._listener: socket.socket | None = None
        if rank == 0:
            self._token = secrets.token_hex(8).encode()
            self._listener = socket.create_server(("", 0), backlog=size)
            port = self._listener.getsockname()[1]
            store.set(KEY, f"{self._token.decode()} {port} {socket.gethostname()} {_address()}")
        else:
            token, port, *hosts = store.get(KEY).decode().split()
            first = _connect(hosts, int(port), f"{token} {rank}\n".encode())
            if first is None:
                log.warning(
                    "process %d cannot reach process 0 at %s, port %s: it will not learn at once "
                    "when another one dies",
                    rank,
                    " or ".join(hosts),
                    port,
                )
                return
            self._others[first] = 0
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def close(self, *, orderly: bool) -> None:
        """Stop watching; unless the end is orderly, the other processes take it for a death."""
        self._closed = True
        for other in (*self._others, *([self._listener] if self._listener else [])):
            # The other one may have left before.
            with suppress(OSError):
                if orderly and other is not self._listener:
                    other.sendall(FAREWELL)
                # Closing alone would leave the connection open while the thread waits on it.
                other.shutdown(socket.SHUT_RDWR)
            other.close()

    def _watch(self) -> None:
        try:
            dead = self._wait_for_death()
        except (OSError, ValueError, KeyError):
            if self._closed:
                return
            raise
        if dead is None or self._closed:
            return
        if self.rank == 0:
            self._tell_others(dead)
        self.message = (
            f"training: process {dead} ended before its time, and the others with it; its part of "
            "the log may say why, else it was killed, perhaps for want of memory; start again to "
            "go on from the last checkpoint"
        )
        self.lost.set()
        time.sleep(GRACE)
        if failure.announce(self.message):
            print(f"hybridom: error: {self.message}", file=sys.stderr, flush=True)
        # The main thread may wait for the dead for ever, deaf to signals and exceptions.
        os._exit(1)

    def _tell_others(self, dead: int) -> None:
        for other in self._others:
            # Some may have left by now.
            with suppress(OSError):
                other.sendall(f"{dead}\n".encode())

    def _wait_for_death(self) -> int | None:
        """Number of the process that died; none where all others have said farewell."""
        with selectors.DefaultSelector() as selector:
            for known in (*self._others, *([self._listener] if self._listener else [])):
                selector.register(known, selectors.EVENT_READ)
            while selector.get_map():
                for source in [key.fileobj for key, _ in selector.select()]:
                    assert isinstance(source, socket.socket)
                    if source is self._listener:
                        if (guest := self._welcome(source)) is not None:
                            selector.register(guest, selectors.EVENT_READ)
                        continue
                    said = source.recv(64)
                    if said.startswith(FAREWELL):
                        selector.unregister(source)
                        continue
                    return int(said) if said else self._others.pop(source)
        return None

    def _welcome(self, listener: socket.socket) -> socket.socket | None:
        """A connection that knows the token."""
        guest, _ = listener.accept()
        guest.settimeout(CONNECT)
        try:
            token, rank = guest.recv(64).split()
            if token == self._token:
                guest.sendall(FAREWELL)
                self._others[guest] = int(rank)
                return guest
        except (OSError, ValueError):
            pass
        guest.close()
        return None


def _connect(hosts: list[str], port: int, greeting: bytes) -> socket.socket | None:
    """A connection to process 0 at the first of its addresses where it answers."""
    for host in hosts:
        try:
            first = socket.create_connection((host, port), CONNECT)
            first.sendall(greeting)
            if first.recv(1) == FAREWELL:
                first.settimeout(None)
                return first
        except OSError:
            continue
    return None


def _address() -> str:
    """Address of this node as those see it that meet at the master."""
    master = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    family, kind, protocol, _, address = socket.getaddrinfo(*master, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)  # of a datagram socket: nothing is sent
        return str(probe.getsockname()[0])
