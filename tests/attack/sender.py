"""sender -- the attacker's process: runs the script of an attack on all its connections.

usage: sender.py ATTACK LISTENER PORT SECONDS

Connects to 127.0.0.1 only. Prints "begun" when the first connection is open. Ends when its input ends, but not later than after
SECONDS, and prints what it has done as one JSON object.
"""

from __future__ import annotations

import errno
import json
import resource
import selectors
import socket
import struct
import sys
import time

import catalog
import frames
from script import Attack, Line, Script, Target

STEPS = 8  # of a script, until it is another's turn
CONNECTING = 256  # connections that are being opened at a time
READ_SIZE = 1 << 18
REST_S = 0.05  # until a connection that was refused is tried again
RESET = struct.pack("ii", 1, 0)  # SO_LINGER


class Connection:
    """One connection, and the script that says what to send on it. Begins again when the server has closed it."""

    def __init__(self, sender: Sender, number: int) -> None:
        self.sender, self.attack, self.number = sender, sender.attack, number
        self.socket: socket.socket | None = None
        self.turn = -1
        self.wake = 0.0
        self.open()

    def open(self) -> None:
        self.turn += 1
        self.line = Line(self.sender.target, self.number, self.turn)
        self.script: Script | None = self.attack.function(self.line)
        self.out = memoryview(b"")
        self.buffer = b""
        self.connecting = True
        self.socket = socket.socket()
        self.socket.setblocking(False)
        if not self.attack.reads:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sender.connecting += 1
        self.sender.selector.register(self.socket, selectors.EVENT_WRITE, self)
        if self.socket.connect_ex(("127.0.0.1", self.sender.port)) not in (0, errno.EINPROGRESS):
            self.closed("refused")

    def closed(self, counted: str) -> None:
        """It is over, and begins again a little later."""
        self.sender.count(counted)
        self.leave()
        self.wake = time.monotonic() + (REST_S if counted == "refused" else 0.001)
        self.sender.sleeping.add(self)

    def leave(self) -> None:
        if not self.socket:
            return
        self.sender.faults.update(self.line.faults)
        if self.connecting:
            self.sender.connecting -= 1
            self.connecting = False
        self.sender.selector.unregister(self.socket)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.close()
        self.socket = None

    def ready(self, events: int) -> None:
        assert self.socket
        try:
            if self.connecting:
                if error := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(error, "")
                self.connecting = False
                self.sender.connecting -= 1
                self.sender.count("opened")
            if events & selectors.EVENT_READ and not self._read():
                self.closed("closed")
                return
            self.write()
        except BlockingIOError:
            pass
        except OSError:
            self.closed("refused" if self.connecting else "closed")

    def _read(self) -> bool:
        assert self.socket
        data = self.socket.recv(READ_SIZE)
        if self.attack.windows:
            self._parse(data)
        if self.attack.keeps:
            self.line.received += data
        if not data and self.script is not None and self.attack.keeps:
            self.write()  # it may judge what it has got
        return bool(data)

    def _parse(self, data: bytes) -> None:
        """What HTTP/2's frames say about windows."""
        self.buffer += data
        line, at = self.line, 0
        while len(self.buffer) - at >= 9:
            size, kind = int.from_bytes(self.buffer[at : at + 3], "big"), self.buffer[at + 3]
            stream = int.from_bytes(self.buffer[at + 5 : at + 9], "big")
            if len(self.buffer) - at < 9 + size:
                break
            payload = self.buffer[at + 9 : at + 9 + size]
            if kind == frames.WINDOW_UPDATE:
                increment = int.from_bytes(payload, "big")
                if stream:
                    line.windows[stream] = line.windows.get(stream, line.initial_window) + increment
                else:
                    line.window += increment
            elif kind == frames.SETTINGS:
                for name, value in struct.iter_unpack(">HI", payload):
                    if name == frames.INITIAL_WINDOW_SIZE:
                        line.windows = {one: left + value - line.initial_window for one, left in line.windows.items()}
                        line.initial_window = value
            at += 9 + size
        self.buffer = self.buffer[at:]

    def write(self) -> None:
        """What the script yields, until the server takes no more, the script waits or has ended, or others have waited."""
        assert self.socket
        for _ in range(STEPS):
            if self.out:
                sent = self.socket.send(self.out)
                self.sender.sent += sent
                self.out = self.out[sent:]
                if self.out:
                    break
            if self.script is None or self.wake > time.monotonic():
                break
            step = next(self.script, b"")
            if step is None:
                self.closed("again")
                return
            if isinstance(step, float):
                self.wake = time.monotonic() + step
                self.sender.sleeping.add(self)
                break
            if step == b"":
                self.script = None
                break
            self.out = memoryview(step)
        waits = not self.out and (self.script is None or self.wake > time.monotonic())
        events = (selectors.EVENT_READ if self.attack.reads else 0) | (0 if waits else selectors.EVENT_WRITE)
        self.sender.watch(self, events)


class Sender:
    def __init__(self, attack: Attack, target: Target, port: int) -> None:
        self.attack, self.target, self.port = attack, target, port
        self.selector = selectors.EpollSelector()
        self.sleeping: set[Connection] = set()
        self.connections: list[Connection] = []
        self.connecting = 0
        self.sent = 0
        self.counts = {"opened": 0, "closed": 0, "refused": 0, "again": 0}
        self.faults: set[str] = set()

    def count(self, what: str) -> None:
        self.counts[what] += 1
        if what == "opened" and self.counts[what] == 1:
            print("begun", flush=True)

    def watch(self, connection: Connection, events: int) -> None:
        # The selector's interface refuses an empty mask, with which epoll still reports a connection that was reset.
        self.selector.modify(connection.socket, events or selectors.EVENT_READ, connection)
        if not events:
            self.selector._selector.modify(connection.socket, 0)

    def _wake(self) -> float:
        """Wakes who has waited; returns how long the next one waits."""
        now = time.monotonic()
        due = [each for each in self.sleeping if each.wake <= now]
        self.sleeping.difference_update(due)
        for each in due:
            if each.socket is None:
                each.open()
            else:
                each.ready(0)
        return max(0.0, min((each.wake - now for each in self.sleeping), default=0.05))

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        while time.monotonic() < end:
            while len(self.connections) < self.attack.connections and self.connecting < CONNECTING:
                self.connections.append(Connection(self, len(self.connections)))
            for key, events in self.selector.select(min(self._wake(), 0.05)):
                if key.data is None:
                    end = 0.0
                else:
                    key.data.ready(events)
        for each in self.connections:
            each.leave()


def main() -> None:
    name, listener, port, seconds = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    sender = Sender(catalog.ATTACKS[name], Target(listener), int(port))
    sender.run(float(seconds))
    print(json.dumps({"sent": sender.sent, **sender.counts, "faults": sorted(sender.faults)}))


if __name__ == "__main__":
    main()
