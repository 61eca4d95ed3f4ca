"""Push fan-out: a title with four million followers, and the backlog after an outage of the push gateway.

One second a step. Two kinds of hints: from a friend (few, impatient) and bulk (recommendations for one profile). A
delivered hint makes half of the clients fetch a row from the Home API, which has a capacity of its own.

The design:
  lanes       friends' hints go first
  pull        an audience above 100,000 is not expanded: one entry in a hot feed, merged at the clients' next poll
  coalescing  a profile has at most one pending bulk hint; a newer one takes its place
  pacing      bulk is sent no faster than what Home has left, and clients spread their fetches over 120 s

Each broken variant leaves one out; "fifo" leaves out lanes and pull, which is where one starts.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field

from .verdict import Verdict

VARIANTS = {
    "design": "lanes, pull, coalescing, pacing",
    "fifo": "one queue, everything expanded on write",
    "no-pull": "the large audience is expanded into the bulk lane",
    "no-coalescing": "every pending hint is sent",
    "no-pacing": "as fast as the gateway can, fetched at once",
}
# The claim that each broken variant must fail.
BREAKS = {
    "fifo": "a friend's hint takes less than 5 s",
    "no-pull": "a bulk hint takes less than 60 s",
    "no-coalescing": "all is caught up a quarter of an hour after the outage",
    "no-pacing": "Home is never offered more than it can serve",
}


@dataclass(frozen=True)
class World:
    connected: int = 5_000_000
    friends_s: float = 120.0
    bulk_s: float = 8_000.0
    followers: int = 4_000_000
    gateway_s: int = 30_000
    home_s: int = 20_000
    home_base_s: float = 2_000.0
    poll_s: int = 900
    fetch_share: float = 0.5
    jitter_s: int = 120
    announce_at: int = 600
    outage: tuple[int, int] = (1_800, 4_500)
    end: int = 9_000

    @property
    def polls_s(self) -> float:
        return self.connected / self.poll_s

    @property
    def pace_s(self) -> int:
        """Bulk hints a second that Home can follow, with a tenth of it kept in reserve."""
        return int((0.9 * self.home_s - self.home_base_s - self.polls_s) / self.fetch_share)


@dataclass
class Lane:
    """First in, first out, in batches of (time, count)."""

    batches: deque[tuple[int, int]] = field(default_factory=deque)
    size: int = 0
    taken: int = 0
    put: int = 0
    delays: dict[int, int] = field(default_factory=dict)

    def add(self, now: int, count: int) -> None:
        if count > 0:
            self.batches.append((now, count))
            self.size += count
            self.put += count

    def take(self, now: int, limit: int, counted: bool) -> int:
        """Removes up to limit hints; their delays are counted unless an outage explains them."""
        left = limit
        while left > 0 and self.batches:
            since, count = self.batches[0]
            part = min(left, count)
            left -= part
            self.batches[0] = (since, count - part)
            if part == count:
                self.batches.popleft()
            if counted:
                self.delays[now - since] = self.delays.get(now - since, 0) + part
        self.size -= limit - left
        self.taken += limit - left
        return limit - left

    def percentile(self, share: float) -> int:
        rest = sum(self.delays.values()) * share
        for delay in sorted(self.delays):
            rest -= self.delays[delay]
            if rest <= 0:
                return delay
        return 0


@dataclass
class Trace:
    backlog: list[int] = field(default_factory=list)
    home: list[float] = field(default_factory=list)
    coalesced: int = 0
    recovered_at: int | None = None
    friends_recovered_at: int | None = None


class Notifier:
    """The queues and their policy; `step` is one second."""

    def __init__(self, world: World, variant: str, seed: int) -> None:
        self.world, self.variant = world, variant
        self.rng = random.Random(seed)
        self.friend, self.bulk = Lane(), Lane()
        self.fetches: deque[float] = deque([0.0] * (world.jitter_s + 1))
        self.trace = Trace()

    def run(self) -> Trace:
        for now in range(self.world.end):
            self.step(now)
        return self.trace

    def step(self, now: int) -> None:
        w = self.world
        self._arrive(now)
        down = w.outage[0] <= now < w.outage[1]
        sent = 0 if down else self._send(now)
        self._fetch(sent)
        self.trace.backlog.append(self.friend.size + self.bulk.size)
        if now >= w.outage[1]:
            self._note_recovery(now)

    def _arrive(self, now: int) -> None:
        w = self.world
        friends, bulk = self._poisson(w.friends_s), self._poisson(w.bulk_s)
        if now == w.announce_at and self.variant in ("fifo", "no-pull"):
            bulk += w.followers
        if self.variant == "fifo":
            # One queue: a friend's hint waits behind everything that came before.
            self.bulk.add(now, bulk + friends)
            return
        self.friend.add(now, friends)
        if self.variant != "no-coalescing":
            fresh = round(bulk * (1 - min(1.0, self.bulk.size / w.connected)))
            self.trace.coalesced += bulk - fresh
            bulk = fresh
        self.bulk.add(now, bulk)

    def _send(self, now: int) -> int:
        w = self.world
        # A hint that waited through the outage says nothing about ordinary delay.
        normal = not w.outage[0] <= now < w.outage[1] + 1_800
        sent = self.friend.take(now, w.gateway_s, normal)
        pace = w.gateway_s if self.variant in ("no-pacing", "fifo") else w.pace_s
        return sent + self.bulk.take(now, min(pace, w.gateway_s - sent), normal)

    def _fetch(self, sent: int) -> None:
        w = self.world
        self.fetches.append(0.0)
        fetching = sent * w.fetch_share
        if self.variant in ("no-pacing", "fifo"):
            self.fetches[0] += fetching
        else:
            for n in range(w.jitter_s):
                self.fetches[n] += fetching / w.jitter_s
        self.trace.home.append(self.fetches.popleft() + w.home_base_s + w.polls_s)

    def _note_recovery(self, now: int) -> None:
        ordinary = 5 * self.world.bulk_s
        if self.trace.recovered_at is None and self.bulk.size < ordinary:
            self.trace.recovered_at = now
        friend_backlog = self.bulk.size if self.variant == "fifo" else self.friend.size
        if self.trace.friends_recovered_at is None and friend_backlog < ordinary:
            self.trace.friends_recovered_at = now

    def _poisson(self, mean: float) -> int:
        return max(0, round(self.rng.gauss(mean, math.sqrt(mean))))


def simulate(variant: str = "design", world: World = World(), seed: int = 3) -> Verdict:
    """Raises KeyError for an unknown variant."""
    verdict = Verdict("fanout", f"{variant}: {VARIANTS[variant]}")
    notifier = Notifier(world, variant, seed)
    trace = notifier.run()
    friend = notifier.bulk if variant == "fifo" else notifier.friend
    friend_p99, bulk_p99 = friend.percentile(0.99), notifier.bulk.percentile(0.99)
    verdict.claim("a friend's hint takes less than 5 s", friend_p99 < 5, f"p99 {friend_p99} s outside the outage")
    verdict.claim("a bulk hint takes less than 60 s", bulk_p99 < 60, f"p99 {bulk_p99} s outside the outage")
    _judge_recovery(verdict, trace, world)
    peak = max(trace.home)
    verdict.claim(
        "Home is never offered more than it can serve",
        peak <= world.home_s,
        f"peak {peak:,.0f} of {world.home_s:,} requests/s",
    )
    put, out = notifier.bulk.put + notifier.friend.put, notifier.bulk.taken + notifier.friend.taken
    left = notifier.bulk.size + notifier.friend.size
    verdict.claim("no hint is lost or sent twice", put == out + left, f"{put:,} in, {out:,} out, {left:,} waiting")
    verdict.figures |= {
        "friend_p99": friend_p99,
        "bulk_p99": bulk_p99,
        "home_peak": peak,
        "coalesced": trace.coalesced,
        "backlog_peak": max(trace.backlog),
        "pace": world.pace_s,
        "catch_up": _minutes(trace.recovered_at, world),
    }
    return verdict


def _judge_recovery(verdict: Verdict, trace: Trace, world: World) -> None:
    friends, everything = (_minutes(at, world) for at in (trace.friends_recovered_at, trace.recovered_at))
    verdict.claim("friends' hints are caught up a minute after the outage", friends <= 1, f"{friends:.1f} min")
    verdict.claim("all is caught up a quarter of an hour after the outage", everything <= 15, f"{everything:.1f} min")


def _minutes(at: int | None, world: World) -> float:
    return math.inf if at is None else (at - world.outage[1]) / 60
