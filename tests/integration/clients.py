"""clients -- strict ones, for drains: every call that reached a server must be answered, and everything else is said.

Each runs in a thread of its own in a closed loop until the server refuses a new connection, which is how a client
learns that it is gone. What else goes wrong is a failure: a reset, a connection closed in the middle, an error status.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar
from urllib.parse import urlsplit

import grpc
import hpack
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

TIMEOUT_S = 60.0
REFUSED_STREAM = 7
T = TypeVar("T")


class Refused(Exception):
    """Nobody listens there any more."""


class Load:
    """Threads that call until they are refused; what they have seen."""

    def __init__(self, client: Callable[[Load], None], threads: int) -> None:
        self.calls = 0
        self.failures: list[str] = []
        self.told = threading.Event()  # the server has been told to end: being refused is right from now on
        self.calls_after = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(client,), daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self, client: Callable[[Load], None]) -> None:
        try:
            client(self)
        except Refused:
            if not self.told.is_set():
                self.fail("refused before the server was told to end")
        except Exception as error:  # noqa: BLE001 (whatever it is, it is what the test is about)
            self.fail(f"{type(error).__name__}: {error}")

    def count(self) -> None:
        with self._lock:
            self.calls += 1
            self.calls_after += self.told.is_set()

    def fail(self, why: str) -> None:
        with self._lock:
            self.failures.append(why)

    def join(self, timeout: float) -> None:
        for thread in self._threads:
            thread.join(timeout)
            assert not thread.is_alive(), "a client is still at it"


def http1(url: str) -> Callable[[Load], None]:
    """Keep-alive; goes to a new connection where the answer says so."""
    parts = urlsplit(url)

    def client(load: Load) -> None:
        while True:
            connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=TIMEOUT_S)
            _connect(connection.connect)
            while connection.sock:
                connection.request("GET", url.removeprefix(f"{parts.scheme}://{parts.netloc}"))
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    load.fail(f"status {answer.status}")
                load.count()
                if answer.will_close:
                    connection.close()

    return client


def _connect(connect: Callable[[], T]) -> T:
    try:
        return connect()
    except ConnectionRefusedError:
        raise Refused from None


def http2(url: str, streams: int = 4) -> Callable[[Load], None]:
    """Cleartext HTTP/2 with prior knowledge, some streams at once; honours GOAWAY as RFC 9113 6.8 says."""
    parts = urlsplit(url)
    path = url.removeprefix(f"{parts.scheme}://{parts.netloc}")

    def client(load: Load) -> None:
        while True:
            connection = _Http2(str(parts.hostname), int(parts.port or 80))
            while connection.open:
                for status in connection.round(path, streams):
                    if status != 200:
                        load.fail(f"status {status}")
                    load.count()

    return client


class _Http2:
    """One connection, frame by frame: libraries take the first GOAWAY for the end."""

    def __init__(self, host: str, port: int) -> None:
        self.socket: socket.socket = _connect(lambda: socket.create_connection((host, port), timeout=TIMEOUT_S))
        self.authority = f"{host}:{port}"
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.open = True
        self.next_stream = 1
        self.last_stream = 2**31 - 1  # that the server says it takes
        self.buffer = b""
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())

    def round(self, path: str, streams: int) -> Iterator[int]:
        """Sends some requests and yields the status of each that the server took."""
        headers = [(":method", "GET"), (":scheme", "http"), (":authority", self.authority), (":path", path)]
        statuses: dict[int, int | None] = {}
        for stream in range(self.next_stream, self.next_stream + 2 * streams, 2):
            self._send(HeadersFrame(stream, self.encoder.encode(headers), flags=["END_HEADERS", "END_STREAM"]))
            statuses[stream] = None
        self.next_stream += 2 * streams
        while statuses:
            frame = self._receive(statuses)
            if isinstance(frame, HeadersFrame):
                statuses[frame.stream_id] = int(dict(self.decoder.decode(frame.data))[":status"])
            elif isinstance(frame, DataFrame) and frame.flow_controlled_length:
                self._send(WindowUpdateFrame(0, window_increment=frame.flow_controlled_length))
            elif isinstance(frame, RstStreamFrame):
                if frame.error_code != REFUSED_STREAM:
                    raise ConnectionError(f"stream {frame.stream_id} reset: {frame.error_code}")
                del statuses[frame.stream_id]
            elif isinstance(frame, GoAwayFrame):
                if frame.error_code:
                    raise ConnectionError(f"GOAWAY with error {frame.error_code}: {frame.additional_data!r}")
                self.open = False
                self.last_stream = frame.last_stream_id
            elif isinstance(frame, SettingsFrame | PingFrame) and "ACK" not in frame.flags:
                self._send(
                    SettingsFrame(0, flags=["ACK"])
                    if isinstance(frame, SettingsFrame)
                    else PingFrame(0, frame.opaque_data, flags=["ACK"])
                )
            if "END_STREAM" in frame.flags:
                yield statuses.pop(frame.stream_id) or 0
            # Those beyond it were never looked at: a client sends them again elsewhere.
            statuses = {stream: status for stream, status in statuses.items() if stream <= self.last_stream}
        if not self.open:
            self.socket.close()

    def _send(self, frame: Frame) -> None:
        # What is sent to a connection that has just been closed is lost, and a GOAWAY that waits to be read says so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(frame.serialize())

    def _receive(self, waiting: dict[int, int | None]) -> Frame:
        frame, length = Frame.parse_frame_header(memoryview(self._bytes(9, waiting)))
        frame.parse_body(memoryview(self._bytes(length, waiting)))
        return frame

    def _bytes(self, length: int, waiting: dict[int, int | None]) -> bytes:
        while len(self.buffer) < length:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError(f"closed with {list(waiting)} unanswered, the last one taken {self.last_stream}")
            self.buffer += data
        result, self.buffer = self.buffer[:length], self.buffer[length:]
        return result


def grpc_calls(address: str, call: Callable[[grpc.Channel], None]) -> Callable[[Load], None]:
    """Calls `call`, which raises grpc.RpcError where one fails, on a channel of its own."""

    def client(load: Load) -> None:
        with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            while True:
                try:
                    call(channel)
                except grpc.RpcError as error:
                    if "Connection refused" in str(error.details()):  # type: ignore[attr-defined]
                        raise Refused from None
                    raise
                load.count()

    return client
