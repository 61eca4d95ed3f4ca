"""Push: a title with four million connected followers, a gateway that crashes meanwhile, and an outage of 45 minutes.

One second a step. Three kinds of hints: from a friend (few, urgent), personal (a recommendation for one profile) and an
announcement (the same for every follower of a title). Hints from friends and personal hints pass a dispatcher that looks
up the recipient's gateway. Half of the personal hints make the client fetch a row from the Home API. A tenth of the
people who see an announcement open the page, which asks the Home API as well.

The measures:
  lanes         friends' hints leave the dispatcher before personal ones
  broadcast     an announcement goes once to every gateway, which expands it over the followers among its connections
  card          the announcement carries what is to be shown, so no client fetches it
  replay        a client that connects again gives the number of the last announcement it has; the gateway sends the rest
  coalescing    a profile has at most one pending personal hint; a newer one takes its place
  pacing        both leave the dispatcher no faster than Home can serve the fetches
  local pacing  a gateway expands an announcement no faster than Home can serve the people who open it

Each variant removes exactly one of them; one of the variants adds capacity instead. Every recipient is counted.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from dataclasses import dataclass, field, replace

from .verdict import Verdict

VARIANTS = {
    "design": "all seven measures",
    "no-lanes": "friends' and personal hints share one queue",
    "no-broadcast": "the dispatcher looks up and sends the announcement to each follower, after everything else; whom the dead gateway had is looked up again on return",
    "larger-dispatcher": "as no-broadcast, with a dispatcher a tenth larger",
    "no-card": "the announcement only says that there is something; half of the clients fetch it; still paced",
    "no-replay": "who was not connected when the announcement passed does not get it",
    "no-coalescing": "every pending personal hint is sent",
    "no-pacing": "hints leave as fast as the dispatcher can",
    "no-local-pacing": "gateways expand an announcement as fast as they can",
    "jitter": "as the design, and clients spread their fetches over two minutes",
}
FRIEND = "99 % of the friends' hints take less than 5 s"
PERSONAL = "99 % of the personal hints take less than 60 s"
FOLLOWERS = "99 % of the followers have the announcement within 5 min"
NOBODY = "every follower has the announcement"
FRIENDS_BACK = "friends' hints are caught up a minute after the outage"
ALL_BACK = "all is caught up a quarter of an hour after the outage"
HOME = "Home is never asked for more than it can serve"
COUNTED = "every hint and every follower is accounted for"
# The claims that each variant fails, no more and no fewer. A variant that fails none shows a measure that can be spared.
BREAKS: dict[str, tuple[str, ...]] = {
    "no-lanes": (FRIENDS_BACK,),
    "no-broadcast": (FOLLOWERS,),
    "larger-dispatcher": (),
    "no-card": (FOLLOWERS,),
    "no-replay": (FOLLOWERS, NOBODY),
    "no-coalescing": (PERSONAL, ALL_BACK),
    "no-pacing": (HOME,),
    "no-local-pacing": (HOME,),
    "jitter": (),
}

IN_TIME, IN_TIME_S = 0.99, 300  # the promise to followers: this share of them within this many seconds
LARGER = 1.1  # the larger dispatcher, over the design's


@dataclass(frozen=True)
class World:
    connected: int = 5_000_000
    gateways: int = 50
    friends_s: float = 120.0
    personal_s: float = 8_000.0
    followers: int = 4_000_000
    dispatcher_s: int = 20_000
    gateway_s: int = 2_000  # hints a second that one gateway can write
    home_s: int = 16_000
    home_base_s: float = 2_780.0  # S-home's events an account and day at 10 million, at the peak
    poll_s: int = 900
    fetch_share: float = 0.5
    open_share: float = 0.1
    jitter_s: int = 120
    announce_at: int = 600
    crash_at: int = 630  # a gateway dies with its part half expanded
    reconnect_s: int = 60  # its clients come back on other gateways, spread over this time
    outage: tuple[int, int] = (1_800, 4_500)
    end: int = 10_800

    @property
    def polls_s(self) -> float:
        return self.connected / self.poll_s

    @property
    def spare_s(self) -> float:
        """Requests a second that Home has left, with a tenth kept in reserve."""
        return 0.9 * self.home_s - self.home_base_s - self.polls_s

    @property
    def pace_s(self) -> int:
        """Personal hints a second whose fetches Home can follow."""
        return int(self.spare_s / self.fetch_share)

    def announcement_pace_s(self, share: float) -> float:
        """Followers a second of all gateways, when this share of them asks Home, beside ordinary personal hints.

        Those of friends, a hundredth as many, are covered by the tenth in reserve.
        """
        return (self.spare_s - self.personal_s * self.fetch_share) / share

    @property
    def largest_open_share(self) -> float:
        """The share of followers who may open the page before Home is too slow for 99 % of them within 5 minutes."""
        return (self.spare_s - self.personal_s * self.fetch_share) * IN_TIME_S / (IN_TIME * self.followers)


@dataclass
class Lane:
    """First in, first out, in batches of (time, friends' hints, others)."""

    batches: deque[tuple[int, int, int]] = field(default_factory=deque)
    size: int = 0
    taken: int = 0
    delays: tuple[Counter[int], Counter[int]] = field(default_factory=lambda: (Counter(), Counter()))

    def add(self, now: int, friends: int, others: int) -> None:
        if friends + others > 0:
            self.batches.append((now, friends, others))
            self.size += friends + others

    def take(self, now: int, limit: int, counted: bool) -> int:
        """Removes up to limit hints; their delays are counted unless an outage explains them."""
        left = limit
        while left > 0 and self.batches:
            since, friends, others = self.batches[0]
            first = min(left, friends)
            then = min(left - first, others)
            left -= first + then
            self.batches[0] = (since, friends - first, others - then)
            if first + then == friends + others:
                self.batches.popleft()
            if counted:
                self.delays[0][now - since] += first
                self.delays[1][now - since] += then
        self.size -= limit - left
        self.taken += limit - left
        return limit - left

    def drop(self, number: int) -> int:
        """Removes up to so many of the newest hints that are not friends'; returns how many."""
        left = number
        for at in reversed(range(len(self.batches))):
            since, friends, others = self.batches[at]
            gone = min(left, others)
            self.batches[at] = (since, friends, others - gone)
            left -= gone
        self.size -= number - left
        return number - left


def percentile(delays: Counter[int], share: float) -> int:
    """The delay that this share of the recipients does not exceed."""
    rest = sum(delays.values()) * share
    for delay in sorted(delays):
        rest -= delays[delay]
        if rest <= 0:
            return delay
    return 0


@dataclass
class Trace:
    backlog: list[int] = field(default_factory=list)
    home: list[float] = field(default_factory=list)
    followers: Counter[int] = field(default_factory=Counter)  # followers served, by delay
    missed: int = 0
    arrived: int = 0  # hints of friends and personal ones, counted before a lane sees them
    coalesced: int = 0
    recovered_at: int | None = None
    friends_recovered_at: int | None = None


class Push:
    """The queues and their policy; `step` is one second."""

    def __init__(self, world: World, variant: str, seed: int) -> None:
        self.broadcast = variant not in ("no-broadcast", "larger-dispatcher")
        if variant == "larger-dispatcher":
            world = replace(world, dispatcher_s=round(LARGER * world.dispatcher_s))
        self.world, self.variant = world, variant
        self.rng = random.Random(seed)
        self.friend, self.personal, self.central = Lane(), Lane(), Lane()
        self.local = [0] * world.gateways  # followers whom a gateway has still to serve
        self.alive = list(range(world.gateways))
        self.returning: deque[int] = deque()  # followers of the dead gateway, by second of their return
        self.fetches: deque[float] = deque([0.0] * (world.jitter_s + 1))
        self.credit, self.now = 0.0, 0
        self.trace = Trace()

    def run(self) -> Trace:
        for now in range(self.world.end):
            self.step(now)
        return self.trace

    def step(self, now: int) -> None:
        w, self.now = self.world, now
        self._arrive(now)
        down = w.outage[0] <= now < w.outage[1]
        fetching = 0.0 if down else self._dispatch(now) + self._expand(now)
        self._ask_home(fetching)
        self.trace.backlog.append(self.friend.size + self.personal.size)
        if now >= w.outage[1]:
            self._note_recovery(now)

    def _arrive(self, now: int) -> None:
        w = self.world
        friends, personal = self._poisson(w.friends_s), self._poisson(w.personal_s)
        self.trace.arrived += friends + personal
        if self.variant != "no-coalescing":
            fresh = round(personal * (1 - min(1.0, self.personal.size / w.connected)))
            self.trace.coalesced += personal - fresh
            personal = fresh
        shared = self.personal if self.variant == "no-lanes" else self.friend
        shared.add(now, friends, 0)
        self.personal.add(now, 0, personal)
        if now == w.announce_at:
            self._announce(now)
        if now == w.crash_at:
            self._crash()

    def _announce(self, now: int) -> None:
        w = self.world
        if not self.broadcast:
            self.central.add(now, 0, w.followers)
            return
        left = w.followers
        for n in range(w.gateways):
            mean = left / (w.gateways - n)
            self.local[n] = min(left, self._poisson(mean)) if n < w.gateways - 1 else left
            left -= self.local[n]

    def _crash(self) -> None:
        """The gateway with the most followers left dies; its clients return to the others within a minute."""
        w = self.world
        dead = max(range(w.gateways), key=self.local.__getitem__)
        # Without the broadcast the dispatcher holds the followers of all gateways; those of the dead one are away as well.
        orphans = self.local[dead] if self.broadcast else self.central.drop(self.central.size // w.gateways)
        self.local[dead] = 0
        self.alive.remove(dead)
        if self.variant == "no-replay":
            self.trace.missed += orphans
            return
        for n in range(w.reconnect_s):
            back = orphans // (w.reconnect_s - n)
            self.returning.append(back)
            orphans -= back

    def _dispatch(self, now: int) -> float:
        """Sends what the dispatcher may; returns the fetches that follow."""
        w = self.world
        # A hint that waited through the outage says nothing about ordinary delay.
        normal = not w.outage[0] <= now < w.outage[1] + 1_800
        pace = w.dispatcher_s if self.variant == "no-pacing" else w.pace_s
        if self.variant != "no-pacing" and (any(self.local) or self.returning):
            # The announcement's pace leaves this much to the dispatcher; together they ask for what Home can spare.
            pace = min(pace, round(w.personal_s + w.friends_s))
        sent = self.friend.take(now, pace, normal)
        personal = self.personal.take(now, pace - sent, normal)
        rest = self.central.take(now, w.dispatcher_s - sent - personal, counted=False)
        if rest:
            self.trace.followers[now - w.announce_at] += rest
        return (sent + personal) * w.fetch_share + rest * w.open_share

    def _expand(self, now: int) -> float:
        """The gateways serve their followers, each at its part of the pace; returns the requests that follow."""
        w = self.world
        if self.returning:
            share = self.returning.popleft()
            if not self.broadcast:
                self.central.add(self.now, 0, share)
                share = 0
            for at, n in enumerate(self.alive):
                part = share // (len(self.alive) - at)
                self.local[n] += part
                share -= part
        if not any(self.local):
            return 0.0
        asking = w.open_share if self.variant != "no-card" else w.fetch_share
        pace = w.announcement_pace_s(asking) / w.gateways
        self.credit += w.gateway_s if self.variant == "no-local-pacing" else min(w.gateway_s, pace)
        whole = int(self.credit)
        self.credit -= whole
        served = 0
        for n, left in enumerate(self.local):
            part = min(left, whole)
            self.local[n] = left - part
            served += part
        self.trace.followers[now - w.announce_at] += served
        return served * asking

    def _ask_home(self, fetching: float) -> None:
        w = self.world
        self.fetches.append(0.0)
        if self.variant == "jitter":
            for n in range(w.jitter_s):
                self.fetches[n] += fetching / w.jitter_s
        else:
            self.fetches[0] += fetching
        self.trace.home.append(self.fetches.popleft() + w.home_base_s + w.polls_s)

    def _note_recovery(self, now: int) -> None:
        ordinary = 5 * self.world.personal_s
        waiting = self.personal if self.variant == "no-lanes" else self.friend
        if self.trace.recovered_at is None and self.personal.size < ordinary:
            self.trace.recovered_at = now
        if self.trace.friends_recovered_at is None and waiting.size < ordinary:
            self.trace.friends_recovered_at = now

    def waiting(self) -> int:
        """Followers who are still to be served."""
        return sum(self.local) + sum(self.returning) + self.central.size

    def _poisson(self, mean: float) -> int:
        return max(0, round(self.rng.gauss(mean, math.sqrt(mean))))


def simulate(variant: str = "design", world: World = World(), seed: int = 3) -> Verdict:
    """Raises KeyError for an unknown variant."""
    verdict = Verdict("fanout", f"{variant}: {VARIANTS[variant]}")
    push = Push(world, variant, seed)
    trace = push.run()
    friends = (push.personal if variant == "no-lanes" else push.friend).delays[0]
    friend_p99, personal_p99 = percentile(friends, 0.99), percentile(push.personal.delays[1], 0.99)
    verdict.claim(FRIEND, friend_p99 < 5, f"p99 {friend_p99} s outside the outage")
    verdict.claim(PERSONAL, personal_p99 < 60, f"p99 {personal_p99} s outside the outage")
    _judge_followers(verdict, push, world)
    _judge_recovery(verdict, trace, world)
    peak = max(trace.home)
    verdict.claim(HOME, peak <= world.home_s, f"peak {peak:,.0f} of {world.home_s:,} requests/s")
    verdict.figures |= {
        "friend_p99": friend_p99,
        "personal_p99": personal_p99,
        "home_peak": peak,
        "coalesced": trace.coalesced,
        "backlog_peak": max(trace.backlog),
        "catch_up": _minutes(trace.recovered_at, world),
        "friends_catch_up": _minutes(trace.friends_recovered_at, world),
    }
    return verdict


def _judge_followers(verdict: Verdict, push: Push, world: World) -> None:
    trace, followers = push.trace, world.followers
    served = sum(trace.followers.values())
    in_time = sum(n for delay, n in trace.followers.items() if delay <= IN_TIME_S) / followers
    late = Counter(trace.followers)
    late[world.end] += followers - served  # who is never served counts as the latest
    p99 = percentile(late, 0.99)
    verdict.claim(FOLLOWERS, in_time >= IN_TIME, f"{in_time:.1%} of {followers:,} within {IN_TIME_S} s, p99 {p99} s")
    verdict.claim(NOBODY, served == followers, f"{served:,} of {followers:,} served, {trace.missed:,} missed")
    found = sum(lane.taken + lane.size for lane in (push.friend, push.personal)) + trace.coalesced
    whole = trace.arrived == found and served + trace.missed + push.waiting() == followers
    verdict.claim(COUNTED, whole, f"{trace.arrived:,} hints, {followers:,} followers")
    verdict.figures |= {"followers_p99": p99, "in_time": in_time, "missed": trace.missed}


def _judge_recovery(verdict: Verdict, trace: Trace, world: World) -> None:
    friends, everything = (_minutes(at, world) for at in (trace.friends_recovered_at, trace.recovered_at))
    verdict.claim(FRIENDS_BACK, friends <= 1, f"{friends:.1f} min")
    verdict.claim(ALL_BACK, everything <= 15, f"{everything:.1f} min")


def _minutes(at: int | None, world: World) -> float:
    return math.inf if at is None else (at - world.outage[1]) / 60
