"""honest -- the honest client's process, beside an attack: calls at a fixed rate, half of them over a kept connection, half
over new ones, and probes of /healthz.

usage: honest.py SERVICE ADDRESS ADMIN_ADDRESS PROBE_TIMEOUT

Prints "ready" after a first success of each kind. On the line "attack" of its input the attack begins, on "over" it has
ended. Goes on until calls succeed again, but not longer than RECOVERY_S, and prints what became of the calls as one JSON
object. The loop is open: a call begins at its time, whatever became of those before, and its latency counts from then.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import grpc

from script import POINT, Target

RATE = 50  # calls a second
PROBE_S = 0.25  # between two probes
CALL_TIMEOUT_S = 10.0
START_S = 20.0
RECOVERY_S = 20.0  # bound on the calls' success after the attack
RECOVERED = 25  # successes in a row, each
FAST_S = 0.05  # within that time
RETRY_S = 0.1

SERVED, BUSY = "served", "busy"


class Failure(Exception):
    """Anything but success or a refusal for want of room."""


# ---- calls ----


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> tuple[int, bool]:
    """One request over HTTP/1; the status, and whether the connection closes."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    await reader.readexactly(int(fields.get("content-length", 0)))
    return int(head.split(" ")[1]), fields.get("connection") == "close"


def outcome(status: int) -> str:
    if status not in (200, 503):
        raise Failure(f"status {status}")
    return SERVED if status == 200 else BUSY


class Http:
    def __init__(self, address: str, path: str) -> None:
        self.host, port = address.rsplit(":", 1)
        self.port, self.path = int(port), path
        self.kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.lock = asyncio.Lock()

    async def new(self) -> str:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            return outcome((await exchange(reader, writer, self.path))[0])
        finally:
            writer.close()

    async def over_kept(self) -> str:
        async with self.lock:
            if self.kept is None or self.kept[0].at_eof():
                self.kept = await asyncio.open_connection(self.host, self.port)
            kept, self.kept = self.kept, None
            status, closes = await exchange(*kept, self.path)
            if closes:
                kept[1].close()
            else:
                self.kept = kept
            return outcome(status)


class Grpc:
    def __init__(self, address: str, path: str) -> None:
        self.address, self.path = address, path
        self.kept = self._channel()

    def _channel(self) -> grpc.aio.Channel:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        return grpc.aio.insecure_channel(self.address, options=options)

    async def _call(self, channel: grpc.aio.Channel) -> str:
        try:
            await channel.unary_unary(self.path)(POINT, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            said = f"{error.code().name}: {error.details()}"
            if "RESOURCE_EXHAUSTED" in said:  # its own, or what the service behind it said
                return BUSY
            raise Failure(said) from None
        return SERVED

    async def new(self) -> str:
        async with self._channel() as channel:
            return await self._call(channel)

    async def over_kept(self) -> str:
        return await self._call(self.kept)


# ---- what became of them ----


@dataclass
class Call:
    begun: float
    what: str = ""  # "" as long as it is under way
    ended: float = 0.0

    @property
    def latency(self) -> float:
        return (self.ended or time.monotonic()) - self.begun

    def is_good(self) -> bool:
        return self.what == SERVED and self.latency < FAST_S


@dataclass
class Client:
    kinds: list[Callable[[], Awaitable[str]]]
    probe: Callable[[], Awaitable[str]]
    probe_timeout: float
    calls: list[Call] = field(default_factory=list)
    probes: list[Call] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def one(self, call: Call, ask: Callable[[], Awaitable[str]], timeout: float) -> None:
        try:
            call.what = await asyncio.wait_for(ask(), timeout)
        except TimeoutError:
            call.what = f"no answer in {timeout:g} s"
        except Failure as failure:
            call.what = str(failure)
        except Exception as error:  # noqa: BLE001 (whatever it is, the call has failed)
            call.what = f"{type(error).__name__}: {error}"
        call.ended = time.monotonic()

    def begin(self, into: list[Call], ask: Callable[[], Awaitable[str]], timeout: float, at: float) -> None:
        into.append(call := Call(at))
        task = asyncio.create_task(self.one(call, ask, timeout))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def tick(self, period: float, act: Callable[[int, float], None]) -> None:
        begin, number = time.monotonic(), 0
        while True:
            act(number, begin + number * period)
            number += 1
            await asyncio.sleep(max(0.0, begin + number * period - time.monotonic()))

    async def first(self) -> None:
        deadline = time.monotonic() + START_S
        for ask in (*self.kinds, self.probe):
            call = Call(0.0)
            while call.what != SERVED:
                await self.one(call, ask, CALL_TIMEOUT_S)
                assert time.monotonic() < deadline, call.what
                await asyncio.sleep(0.01)

    def recovered(self, over: float, within: float = FAST_S) -> bool:
        last = [call for call in self.calls if call.begun >= over and call.ended][-RECOVERED:]
        return len(last) == RECOVERED and all(call.what == SERVED and call.latency < within for call in last)

    async def run(self) -> dict[str, object]:
        await self.first()
        print("ready", flush=True)
        ticks = [
            asyncio.create_task(
                self.tick(1 / RATE, lambda n, at: self.begin(self.calls, self.kinds[n % 2], CALL_TIMEOUT_S, at))
            ),
            asyncio.create_task(
                self.tick(PROBE_S, lambda _, at: self.begin(self.probes, self.probe, self.probe_timeout, at))
            ),
        ]
        begun, over = await told("attack"), await told("over")
        deadline = over + RECOVERY_S
        while not self.recovered(over) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for each in ticks:
            each.cancel()
        await asyncio.gather(*self.tasks)
        return self.summary(begun, over)

    def summary(self, begun: float, over: float) -> dict[str, object]:
        calls = [call for call in self.calls if call.begun >= begun]
        during = [call for call in calls if call.begun <= over]
        probes = [call for call in self.probes if call.begun >= begun]
        served = sorted(call.latency for call in during if call.what == SERVED)
        after = [call.begun - over for call in calls if call.begun > over and not call.is_good()]
        return {
            "served": len(served),
            "busy": sum(call.what == BUSY for call in during),
            "failures": [call.what for call in calls if call.what not in (SERVED, BUSY)],
            "p99_s": served[len(served) * 99 // 100] if served else None,
            "recovered": self.recovered(over, CALL_TIMEOUT_S),
            "recovery_s": max(after, default=0.0) if self.recovered(over) else None,
            "probe_failures": [call.what for call in probes if call.what != SERVED],
            "probe_s": max((call.latency for call in probes), default=0.0),
        }


async def told(word: str) -> float:
    line = await asyncio.to_thread(sys.stdin.readline)
    assert line.strip() == word, line
    return time.monotonic()


async def main() -> None:
    service, address, admin, probe_timeout = sys.argv[1:]
    target = Target(service)
    client = (Grpc if target.is_grpc else Http)(address, target.path)
    probe = Http(admin, "/healthz")
    print(json.dumps(await Client([client.over_kept, client.new], probe.new, float(probe_timeout)).run()))


if __name__ == "__main__":
    asyncio.run(main())
