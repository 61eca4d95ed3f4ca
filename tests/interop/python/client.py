"""client.py ADDRESS CASE -- runs one case of gRPC's interop tests against the server at ADDRESS, with grpcio.

interop_pb2 and interop_pb2_grpc, which protoc makes of interop.proto, must be in PYTHONPATH.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from queue import Queue

import grpc
import interop_pb2 as pb
from interop_pb2_grpc import TestServiceStub, UnimplementedServiceStub

TIMEOUT_S = 30
REQUEST_SIZES = (27182, 8, 1828, 45904)
RESPONSE_SIZES = (31415, 9, 2653, 58979)
LARGE_REQUEST, LARGE_RESPONSE = 271828, 314159
INITIAL = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
TRAILING = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")
GZIP, PLAIN = grpc.Compression.Gzip, grpc.Compression.NoCompression


class Wrong(Exception):
    pass


def same(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise Wrong(f"{what} is {got!r}, not {expected!r}")


def zeros(size: int) -> pb.Payload:
    return pb.Payload(body=bytes(size))


def large(**more: object) -> pb.SimpleRequest:
    return pb.SimpleRequest(response_size=LARGE_RESPONSE, payload=zeros(LARGE_REQUEST), **more)


def asking(size: int, request_size: int) -> pb.StreamingOutputCallRequest:
    return pb.StreamingOutputCallRequest(
        response_parameters=[pb.ResponseParameters(size=size)], payload=zeros(request_size)
    )


def check_large(response: pb.SimpleResponse) -> None:
    same("the response", response.payload.body, bytes(LARGE_RESPONSE))


def check_status(call: Callable[[], object], code: grpc.StatusCode, details: str | None = None) -> None:
    try:
        call()
    except grpc.RpcError as error:
        same("the status", error.code(), code)
        if details is not None:
            same("the status message", error.details(), details)
    else:
        raise Wrong(f"the status is OK, not {code}")


class Requests:
    """An iterator of requests that waits for the next one."""

    def __init__(self) -> None:
        self.queue: Queue[object] = Queue()

    def __iter__(self) -> Iterator[object]:
        return iter(self.queue.get, None)

    def send(self, message: object) -> None:
        self.queue.put(message)

    def close(self) -> None:
        self.queue.put(None)


def empty_unary(stub: TestServiceStub) -> None:
    same("the response", stub.EmptyCall(pb.Empty(), timeout=TIMEOUT_S), pb.Empty())


def large_unary(stub: TestServiceStub) -> None:
    check_large(stub.UnaryCall(large(), timeout=TIMEOUT_S))


def client_streaming(stub: TestServiceStub) -> None:
    requests = (pb.StreamingInputCallRequest(payload=zeros(size)) for size in REQUEST_SIZES)
    same("the sum", stub.StreamingInputCall(requests, timeout=TIMEOUT_S).aggregated_payload_size, sum(REQUEST_SIZES))


def check_server_stream(stub: TestServiceStub, compressed: Iterable[bool] | None) -> None:
    flags = [None] * 4 if compressed is None else [pb.BoolValue(value=each) for each in compressed]
    parameters = [
        pb.ResponseParameters(size=size, compressed=flag) for size, flag in zip(RESPONSE_SIZES, flags, strict=True)
    ]
    responses = stub.StreamingOutputCall(
        pb.StreamingOutputCallRequest(response_parameters=parameters), timeout=TIMEOUT_S
    )
    same("the responses", [len(each.payload.body) for each in responses], list(RESPONSE_SIZES))


def server_streaming(stub: TestServiceStub) -> None:
    check_server_stream(stub, None)


def ping_pong(stub: TestServiceStub) -> None:
    requests = Requests()
    responses = stub.FullDuplexCall(iter(requests), timeout=TIMEOUT_S)
    for size, request_size in zip(RESPONSE_SIZES, REQUEST_SIZES, strict=True):
        requests.send(asking(size, request_size))
        same("the response", next(responses).payload.body, bytes(size))
    requests.close()
    same("what follows", list(responses), [])


def empty_stream(stub: TestServiceStub) -> None:
    same("the responses", list(stub.FullDuplexCall(iter(()), timeout=TIMEOUT_S)), [])


def check_metadata(call: grpc.Call) -> None:
    same(INITIAL[0], dict(call.initial_metadata()).get(INITIAL[0]), INITIAL[1])
    same(TRAILING[0], dict(call.trailing_metadata()).get(TRAILING[0]), TRAILING[1])


def custom_metadata(stub: TestServiceStub) -> None:
    _, call = stub.UnaryCall.with_call(large(), metadata=(INITIAL, TRAILING), timeout=TIMEOUT_S)
    check_metadata(call)
    requests = iter([asking(LARGE_RESPONSE, LARGE_REQUEST)])
    stream = stub.FullDuplexCall(requests, metadata=(INITIAL, TRAILING), timeout=TIMEOUT_S)
    same("the responses", len(list(stream)), 1)
    check_metadata(stream)


def check_echoed_status(stub: TestServiceStub, message: str, with_stream: bool) -> None:
    status = pb.EchoStatus(code=2, message=message)
    request, streamed = pb.SimpleRequest(response_status=status), pb.StreamingOutputCallRequest(response_status=status)
    check_status(lambda: stub.UnaryCall(request, timeout=TIMEOUT_S), grpc.StatusCode.UNKNOWN, message)
    if with_stream:
        call = stub.FullDuplexCall(iter([streamed]), timeout=TIMEOUT_S)
        check_status(lambda: list(call), grpc.StatusCode.UNKNOWN, message)


def status_code_and_message(stub: TestServiceStub) -> None:
    check_echoed_status(stub, "test status message", True)


def special_status_message(stub: TestServiceStub) -> None:
    message = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
    check_echoed_status(stub, message, False)


def unimplemented_method(stub: TestServiceStub) -> None:
    check_status(lambda: stub.UnimplementedCall(pb.Empty(), timeout=TIMEOUT_S), grpc.StatusCode.UNIMPLEMENTED)


def unimplemented_service(stub: UnimplementedServiceStub) -> None:
    check_status(lambda: stub.UnimplementedCall(pb.Empty(), timeout=TIMEOUT_S), grpc.StatusCode.UNIMPLEMENTED)


def cancel_after_begin(stub: TestServiceStub) -> None:
    requests = Requests()
    call = stub.StreamingInputCall.future(iter(requests), timeout=TIMEOUT_S)
    call.cancel()
    requests.close()
    same("the status", call.code(), grpc.StatusCode.CANCELLED)


def cancel_after_first_response(stub: TestServiceStub) -> None:
    requests = Requests()
    call = stub.FullDuplexCall(iter(requests), timeout=TIMEOUT_S)
    requests.send(asking(RESPONSE_SIZES[0], REQUEST_SIZES[0]))
    same("the response", next(call).payload.body, bytes(RESPONSE_SIZES[0]))
    call.cancel()
    requests.close()
    check_status(lambda: next(call), grpc.StatusCode.CANCELLED)


def timeout_on_sleeping_server(stub: TestServiceStub) -> None:
    requests = Requests()
    call = stub.FullDuplexCall(iter(requests), timeout=0.001)
    requests.send(pb.StreamingOutputCallRequest(payload=zeros(27182)))
    check_status(lambda: next(call), grpc.StatusCode.DEADLINE_EXCEEDED)
    requests.close()


def expecting(value: bool) -> pb.BoolValue:
    return pb.BoolValue(value=value)


def client_compressed_unary(stub: TestServiceStub) -> None:
    def unary(expected: bool, compression: grpc.Compression) -> pb.SimpleResponse:
        return stub.UnaryCall(large(expect_compressed=expecting(expected)), compression=compression, timeout=TIMEOUT_S)

    check_status(lambda: unary(True, PLAIN), grpc.StatusCode.INVALID_ARGUMENT)
    check_large(unary(True, GZIP))
    check_large(unary(False, PLAIN))


def client_compressed_streaming(stub: TestServiceStub) -> None:
    """grpcio compresses all messages of a call or none: so a call of each."""

    def stream(expected: bool, compression: grpc.Compression) -> int:
        requests = (
            pb.StreamingInputCallRequest(payload=zeros(size), expect_compressed=expecting(expected))
            for size in (27182, 45904)
        )
        return stub.StreamingInputCall(requests, compression=compression, timeout=TIMEOUT_S).aggregated_payload_size

    check_status(lambda: stream(True, PLAIN), grpc.StatusCode.INVALID_ARGUMENT)
    same("the sum", stream(True, GZIP), 73086)
    same("the sum", stream(False, PLAIN), 73086)


def server_compressed_unary(stub: TestServiceStub) -> None:
    for compressed in (True, False):
        check_large(stub.UnaryCall(large(response_compressed=pb.BoolValue(value=compressed)), timeout=TIMEOUT_S))


def server_compressed_streaming(stub: TestServiceStub) -> None:
    check_server_stream(stub, (True, False, False, True))


CASES = {
    each.__name__: each
    for each in (
        empty_unary,
        large_unary,
        client_streaming,
        server_streaming,
        ping_pong,
        empty_stream,
        custom_metadata,
        status_code_and_message,
        special_status_message,
        unimplemented_method,
        unimplemented_service,
        cancel_after_begin,
        cancel_after_first_response,
        timeout_on_sleeping_server,
        client_compressed_unary,
        server_compressed_unary,
        client_compressed_streaming,
        server_compressed_streaming,
    )
}


def main(address: str, name: str) -> None:
    with grpc.insecure_channel(address) as channel:
        service = UnimplementedServiceStub if name == "unimplemented_service" else TestServiceStub
        CASES[name](service(channel))


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in CASES:
        sys.exit(__doc__)
    main(*sys.argv[1:])
