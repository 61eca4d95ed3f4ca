"""Billing: events redelivered, reordered and crashed in the middle, against a real database and real process kills.

Three databases stand for the three parties: ledger.db (Billing's own), log.db (the event log, which shares no
transaction with it) and accounting.db. A worker process consumes billing events, posts double entries and relays the
outbox; it kills itself with SIGKILL at points drawn by chance, and is started again until the work is done. Then the
result is held against an oracle that computes the right balances from the list of events alone.

The design:
  event id       kept with its effect, unique: a repeat is seen
  transaction    both entries, the account's sequence and the outbox row commit together
  outbox         a relay reads it, publishes, then moves its mark: at least once
  parking        an event that is ahead of its account's source sequence waits in the database
  accounting     keeps the last sequence per account: drops repeats, notices gaps

Each broken variant leaves one of them out.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sqlite3
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from .verdict import Verdict

VARIANTS = {
    "design": "all five measures",
    "no-dedupe": "the event id is not kept, a redelivered event is posted again",
    "split-transaction": "debit and credit are committed one after the other",
    "dual-write": "no outbox: the feed is written after the commit",
    "no-parking": "events are posted in the order of arrival",
    "trusting-accounting": "accounting takes the feed as it comes",
}

# The claim that each broken variant must fail.
BREAKS = {
    "no-dedupe": "every event has its effect exactly once",
    "split-transaction": "the ledger balances",
    "dual-write": "the accounting feed is complete",
    "no-parking": "the accounting feed is in order per account",
    "trusting-accounting": "the accounting feed is in order per account",
}

# What each kind of event does: the account debited and the one credited, per subscriber account.
POSTINGS = {
    "invoice": ("receivable", "revenue"),
    "payment": ("bank", "receivable"),
    "refund": ("revenue", "bank"),
    "chargeback": ("receivable", "bank"),
}


@dataclass(frozen=True)
class Event:
    id: str
    account: int
    seq: int  # 1, 2, 3... within the account
    kind: str
    cents: int


def make_events(rng: random.Random, accounts: int, months: int) -> list[Event]:
    """Each account is invoiced and pays every month; some get refunds, some charge back."""
    out: list[Event] = []
    for account in range(accounts):
        seq = 0
        for month in range(months):
            cents = rng.choice((499, 899, 1299))
            kinds = ["invoice", "payment"]
            if rng.random() < 0.15:
                kinds.append(rng.choice(("refund", "chargeback")))
            for kind in kinds:
                seq += 1
                out.append(Event(f"{kind}-{account}-{month}", account, seq, kind, cents))
    return out


def deliveries(rng: random.Random, events: list[Event]) -> list[Event]:
    """What the log hands over: everything at least once, a fifth of it again, moved by up to 40 places."""
    stream = events + [e for e in events if rng.random() < 0.2]
    places = [n + rng.uniform(0, 40) for n in range(len(stream))]
    return [stream[n] for n in sorted(range(len(stream)), key=places.__getitem__)]


SCHEMA = {
    "ledger": """
        CREATE TABLE seen (event_id TEXT PRIMARY KEY) WITHOUT ROWID;
        CREATE TABLE entry (id INTEGER PRIMARY KEY, event_id TEXT, account INT, book TEXT, cents INT);
        CREATE TABLE position (account INT PRIMARY KEY, source_seq INT, feed_seq INT);
        CREATE TABLE parked (account INT, seq INT, event_id TEXT, kind TEXT, cents INT, PRIMARY KEY (account, seq));
        CREATE TABLE outbox (id INTEGER PRIMARY KEY, account INT, feed_seq INT, event_id TEXT, kind TEXT, cents INT);
        CREATE TABLE relay (mark INT);
        INSERT INTO relay VALUES (0);""",
    "log": """
        CREATE TABLE consumed (position INT);
        INSERT INTO consumed VALUES (0);
        CREATE TABLE feed (id INTEGER PRIMARY KEY, account INT, feed_seq INT, event_id TEXT, kind TEXT, cents INT);""",
    "accounting": """
        CREATE TABLE last (account INT PRIMARY KEY, feed_seq INT);
        CREATE TABLE book (id INTEGER PRIMARY KEY, account INT, feed_seq INT, event_id TEXT, kind TEXT, cents INT);""",
}


def connect(folder: Path, name: str) -> sqlite3.Connection:
    """Autocommit, so that every transaction is begun by hand; a process kill does not need synchronous writes."""
    db = sqlite3.connect(folder / f"{name}.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=OFF")
    return db


class Crasher:
    """Kills this process at a point of the code, with a probability, at most once a process."""

    def __init__(self, seed: int, chance: float) -> None:
        self.rng = random.Random(seed)
        self.chance = chance

    def point(self) -> None:
        if self.rng.random() < self.chance:
            os.kill(os.getpid(), signal.SIGKILL)


class Billing:
    """The worker: consumes, posts, relays."""

    def __init__(self, folder: Path, variant: str, crash: Crasher) -> None:
        self.ledger, self.log = connect(folder, "ledger"), connect(folder, "log")
        self.variant, self.crash = variant, crash

    def consume(self, stream: list[Event]) -> None:
        """From the committed position on; the position is committed every ten events, after their effects."""
        (start,) = self.log.execute("SELECT position FROM consumed").fetchone()
        for n in range(start, len(stream)):
            self.handle(stream[n])
            if n % 10 == 9:
                self.crash.point()
                self.log.execute("UPDATE consumed SET position = ?", (n + 1,))
        self.log.execute("UPDATE consumed SET position = ?", (len(stream),))

    def handle(self, event: Event) -> None:
        self.ledger.execute("BEGIN IMMEDIATE")
        posted = [(e, self._post(e)) for e in self._due(event) if self._first_time(e)]
        self.crash.point()
        self.ledger.execute("COMMIT")
        self.crash.point()
        if self.variant == "dual-write":
            for e, feed_seq in posted:
                self._publish(e.account, feed_seq, e.id, e.kind, e.cents)

    def _due(self, event: Event) -> list[Event]:
        """The event and what was parked behind it; nothing if its turn has not come."""
        if self.variant == "no-parking":
            return [event]
        position = self._position(event.account)
        if event.seq <= position and self.variant != "no-dedupe":
            return []
        if event.seq > position + 1:
            row = (event.account, event.seq, event.id, event.kind, event.cents)
            self.ledger.execute("INSERT OR IGNORE INTO parked VALUES (?, ?, ?, ?, ?)", row)
            return []
        return [event, *self._unpark(event.account, max(event.seq, position) + 1)]

    def _unpark(self, account: int, seq: int) -> list[Event]:
        out: list[Event] = []
        while True:
            query = "DELETE FROM parked WHERE account = ? AND seq = ? RETURNING event_id, kind, cents"
            row = self.ledger.execute(query, (account, seq)).fetchone()
            if row is None:
                return out
            out.append(Event(row[0], account, seq, row[1], row[2]))
            seq += 1

    def _first_time(self, event: Event) -> bool:
        if self.variant == "no-dedupe":
            return True
        return self.ledger.execute("INSERT OR IGNORE INTO seen VALUES (?)", (event.id,)).rowcount == 1

    def _position(self, account: int) -> int:
        row = self.ledger.execute("SELECT source_seq FROM position WHERE account = ?", (account,)).fetchone()
        return row[0] if row else 0

    def _post(self, event: Event) -> int:
        """Both entries, the account's positions and the outbox row; returns the event's place in the feed."""
        debit, credit = POSTINGS[event.kind]
        self._entry(event, debit, event.cents)
        if self.variant == "split-transaction":
            self.ledger.execute("COMMIT")
            self.crash.point()
            self.ledger.execute("BEGIN IMMEDIATE")
        self._entry(event, credit, -event.cents)
        (feed_seq,) = self.ledger.execute(
            "INSERT INTO position VALUES (?, ?, 1) ON CONFLICT (account) DO UPDATE "
            "SET source_seq = max(source_seq, excluded.source_seq), feed_seq = feed_seq + 1 RETURNING feed_seq",
            (event.account, event.seq),
        ).fetchone()
        if self.variant != "dual-write":
            self.ledger.execute(
                "INSERT INTO outbox (account, feed_seq, event_id, kind, cents) VALUES (?, ?, ?, ?, ?)",
                (event.account, feed_seq, event.id, event.kind, event.cents),
            )
        return int(feed_seq)

    def _entry(self, event: Event, book: str, cents: int) -> None:
        row = (event.id, event.account, book, cents)
        self.ledger.execute("INSERT INTO entry (event_id, account, book, cents) VALUES (?, ?, ?, ?)", row)

    def _publish(self, *row: int | str) -> None:
        self.log.execute("INSERT INTO feed (account, feed_seq, event_id, kind, cents) VALUES (?, ?, ?, ?, ?)", row)

    def relay(self) -> None:
        """Publishes the outbox in batches of 20; the mark moves after the batch, so a crash publishes it again."""
        while True:
            (mark,) = self.ledger.execute("SELECT mark FROM relay").fetchone()
            query = "SELECT id, account, feed_seq, event_id, kind, cents FROM outbox WHERE id > ? ORDER BY id LIMIT 20"
            rows = self.ledger.execute(query, (mark,)).fetchall()
            if not rows:
                return
            for row in rows:
                self._publish(*row[1:])
            self.crash.point()
            self.ledger.execute("UPDATE relay SET mark = ?", (rows[-1][0],))


def account_for(folder: Path, variant: str) -> int:
    """The accounting side: applies the feed in order per account, drops repeats; returns the number of gaps."""
    log, books = connect(folder, "log"), connect(folder, "accounting")
    gaps = 0
    last: dict[int, int] = defaultdict(int)
    books.execute("BEGIN")
    for row in log.execute("SELECT account, feed_seq, event_id, kind, cents FROM feed ORDER BY id"):
        account, seq = row[0], row[1]
        if seq <= last[account] and variant != "trusting-accounting":
            continue
        gaps += seq > last[account] + 1
        last[account] = seq
        books.execute("INSERT INTO book (account, feed_seq, event_id, kind, cents) VALUES (?, ?, ?, ?, ?)", row)
    books.execute("COMMIT")
    log.close()
    books.close()
    return gaps


def work(folder: Path, variant: str, stream: list[Event], seed: int, chance: float) -> int:
    """Runs the worker in processes of its own until one finishes; returns how many were killed."""
    for life in range(100_000):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                worker = Billing(folder, variant, Crasher(seed + life, chance))
                worker.consume(stream)
                worker.relay()
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        if status == 0:
            return life
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            raise RuntimeError(f"the billing worker failed with wait status {status}")
    raise RuntimeError("the billing worker did not finish")


def simulate(variant: str = "design", accounts: int = 60, months: int = 6, seed: int = 1) -> Verdict:
    """Raises KeyError for an unknown variant."""
    rng = random.Random(seed)
    events = make_events(rng, accounts, months)
    stream = deliveries(rng, events)
    verdict = Verdict("ledger", f"{variant}: {VARIANTS[variant]}")
    with tempfile.TemporaryDirectory(prefix="ledger-") as name:
        folder = Path(name)
        for part, schema in SCHEMA.items():
            db = connect(folder, part)
            db.executescript(schema)
            db.close()
        kills = work(folder, variant, stream, seed * 100_000, chance=0.015)
        gaps = account_for(folder, variant)
        judge(verdict, folder, events, gaps)
    verdict.figures |= {"events": len(events), "deliveries": len(stream), "kills": kills}
    return verdict


def judge(verdict: Verdict, folder: Path, events: list[Event], gaps: int) -> None:
    ledger, books = connect(folder, "ledger"), connect(folder, "accounting")
    (total,) = ledger.execute("SELECT coalesce(sum(cents), 0) FROM entry").fetchone()
    query = "SELECT count(*) FROM (SELECT 1 FROM entry GROUP BY event_id HAVING sum(cents) <> 0)"
    (unbalanced,) = ledger.execute(query).fetchone()
    verdict.claim(
        "the ledger balances",
        total == 0 and unbalanced == 0,
        f"trial balance {total} cents, {unbalanced} postings out of balance",
    )
    got = {
        (a, b): c for a, b, c in ledger.execute("SELECT account, book, sum(cents) FROM entry GROUP BY account, book")
    }
    want = balances(events)
    wrong = sum(got.get(key, 0) != want.get(key, 0) for key in got.keys() | want.keys())
    verdict.claim("every event has its effect exactly once", wrong == 0, f"{wrong} of {len(want)} balances wrong")
    feed: dict[int, list[str]] = defaultdict(list)
    for account, event_id in books.execute("SELECT account, event_id FROM book ORDER BY id"):
        feed[account].append(event_id)
    order: dict[int, list[str]] = defaultdict(list)
    for event in events:
        order[event.account].append(event.id)
    missing = sum(len(set(ids) - set(feed[account])) for account, ids in order.items())
    verdict.claim("the accounting feed is complete", missing == 0 and gaps == 0, f"{missing} missing, {gaps} gaps")
    disorder = sum(not _in_order(feed[account], ids) for account, ids in order.items())
    verdict.claim("the accounting feed is in order per account", disorder == 0, f"{disorder} accounts out of order")
    ledger.close()
    books.close()


def _in_order(feed: list[str], order: list[str]) -> bool:
    """Whether the feed keeps the order of events, no matter what it lacks; repeats count as disorder."""
    place = {id_: n for n, id_ in enumerate(order)}
    places = [place[id_] for id_ in feed]
    return all(a < b for a, b in itertools.pairwise(places))


def balances(events: list[Event]) -> dict[tuple[int, str], int]:
    """The oracle: what the books must say, from the events alone."""
    out: dict[tuple[int, str], int] = defaultdict(int)
    for event in events:
        debit, credit = POSTINGS[event.kind]
        out[event.account, debit] += event.cents
        out[event.account, credit] -= event.cents
    return dict(out)
