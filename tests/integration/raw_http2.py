"""raw_http2 -- HTTP/2 frame by frame, for clients that a library does not let one be."""

from __future__ import annotations

import socket

import hpack
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

import harness

WINDOW = 65535  # bytes: HTTP/2's at the beginning, of a stream and of a connection


class Connection:
    """HTTP/2 by hand: streams are opened and sent to as far as the server's windows and its bound on streams allow."""

    def __init__(self, address: str, window: int = WINDOW) -> None:
        """window: bytes that the server may send on each stream."""
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=harness.START_S)
        self.encoder = hpack.Encoder()
        self.windows: dict[int, int] = {0: WINDOW}
        self.initial_window = WINDOW
        self.max_streams: int | None = None
        self.ended: set[int] = set()  # streams that the server has ended
        self.buffer = b""
        self.socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: window}).serialize()
        )

    def open(self, stream: int, path: str, *more: tuple[str, str]) -> None:
        """Begins a call of gRPC, with more headers."""
        headers = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "x")]
        headers += [("content-type", "application/grpc"), ("te", "trailers"), *more]
        block = self.encoder.encode(headers)
        self.socket.sendall(HeadersFrame(stream, block, flags=["END_HEADERS"]).serialize())
        self.windows[stream] = self.initial_window

    def send(self, stream: int, data: bytes, *, end: bool = False) -> int:
        """As much of it as the windows allow; returns how much that was."""
        size = max(0, min(len(data), self.windows[0], self.windows[stream], 16384))
        if size:
            self.socket.sendall(DataFrame(stream, data[:size], flags=["END_STREAM"] if end else []).serialize())
            self.windows[0] -= size
            self.windows[stream] -= size
        return size

    def synchronize(self) -> None:
        """Reads until the server has answered a ping: it has then read all that was sent before."""
        self.socket.sendall(PingFrame(0, b"together").serialize())
        while not self._read_frame():
            pass

    def _read_frame(self) -> bool:
        head = self._read(9)
        frame, length = Frame.parse_frame_header(memoryview(head))
        frame.parse_body(memoryview(self._read(length)))
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.max_streams = frame.settings.get(SettingsFrame.MAX_CONCURRENT_STREAMS, self.max_streams)
            change = frame.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, self.initial_window) - self.initial_window
            self.initial_window += change
            for stream in self.windows:
                self.windows[stream] += change if stream else 0
            self.socket.sendall(SettingsFrame(0, flags=["ACK"]).serialize())
        elif isinstance(frame, WindowUpdateFrame):
            self.windows[frame.stream_id] = self.windows.get(frame.stream_id, 0) + frame.window_increment
        elif isinstance(frame, RstStreamFrame) or (isinstance(frame, HeadersFrame) and "END_STREAM" in frame.flags):
            self.ended.add(frame.stream_id)
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self.socket.sendall(PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())
        return isinstance(frame, PingFrame) and "ACK" in frame.flags and frame.opaque_data == b"together"

    def _read(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not (data := self.socket.recv(1 << 16)):
                raise ConnectionError("closed by the server")
            self.buffer += data
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data
