"""Billing: invoices, payments and their afterlife against a provider that only promises webhooks.

Four SQLite databases stand for four parties that share no transaction: the ledger, the payment provider with the bank,
the event log and accounting. Three processes work on them, taking turns at random: the biller (invoices, charges, dunning, recognition
and webhooks), the relay (outbox to log) and accounting (log to books). Each turn is a process that may end itself with
SIGKILL at marked points. Meanwhile the provider's customers authenticate, ask for refunds and dispute. In the end a
reconciliation reads the provider's own file, and everything is held against an oracle that knows the files of provider
and bank and the plan. The ledger tells it three things: whether an invoice was recognised before an amount was given
back, which of two amounts was given back first, and whether it was void before the customer paid by the mailed link.

The measures:
  states            a payment, refund, dispute or payout moves forward through its states, so a fact applies once;
                    a fact that contradicts the state is parked and reported
  parking           a webhook that comes before the one it needs waits in the database
  transaction       lines, state, the account's sequence and the outbox row commit together
  outbox            the relay publishes what was committed
  mark after        the relay moves its mark after publishing
  sequence          accounting drops what is at or below the account's sequence
  mark with effect  accounting commits its mark with, or after, the effect
  key               a charge carries an idempotency key made of invoice and attempt
  unknown           a charge without an answer is asked for again, not replaced by a new attempt
  reconciliation    the provider's file is compared with the states and what is missing is booked

Each variant removes, replaces or adds one, and is judged at every one of SEEDS. Removing any one breaks a claim at
each of them. One measure has an alternative that holds as well (ALTERNATIVES), another has one that holds at some
seeds only (SOMETIMES), and storing event ids adds nothing.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import books, provider
from .books import Line, Price, Return
from .provider import Fact, Provider
from .verdict import Verdict

VARIANTS = {
    "design": "all ten measures",
    "ids-only": "webhooks are told apart by their event ids only; there are no states",
    "event-ids": "as the design, and the event ids are kept as well",
    "drop-early": "a webhook that comes too early is acknowledged and dropped",
    "refuse-early": "a webhook that comes too early is refused, so that the provider sends it again",
    "split-transaction": "the first line of a posting commits before the others",
    "dual-write": "no outbox: the feed is written after the commit",
    "mark-before": "the relay moves its mark before publishing",
    "trusting-accounting": "accounting does not look at the sequence",
    "accounting-mark-first": "accounting commits its mark before the effect",
    "accounting-mark-after": "accounting commits its mark in a transaction of its own after the effect",
    "no-key": "a charge carries a new key each time it is sent",
    "timeout-is-failure": "a charge without an answer counts as failed and the next attempt begins",
    "no-reconciliation": "nobody reads the provider's file",
}

BALANCES = "every posting and the trial balance are zero in each currency"
RIGHT = "every book is what the files of the provider and the bank say"
ONCE = "nobody is charged twice for an invoice"
TIMELY = "every webhook that was delivered is booked before the reconciliation"
ENDED = "invoices and payments end as they did at the provider"
FEED = "accounting has every posting exactly once"
ORDER = "accounting sees causes before effects, and each account in order"

SEEDS = (7, 1, 5, 8)  # the figures in the text are those of the first
# The claims that each variant fails at every seed; with SOMETIMES, no more and no fewer. A variant that fails none
# shows what can be spared.
BREAKS: dict[str, tuple[str, ...]] = {
    "ids-only": (RIGHT, TIMELY, ORDER),
    "event-ids": (),
    "drop-early": (TIMELY,),
    "refuse-early": (),
    "split-transaction": (BALANCES, RIGHT, FEED, ORDER),
    "dual-write": (FEED, ORDER),
    "mark-before": (FEED, ORDER),
    "trusting-accounting": (FEED, ORDER),
    "accounting-mark-first": (FEED, ORDER),
    "accounting-mark-after": (),
    "no-key": (RIGHT, ONCE),
    "timeout-is-failure": (RIGHT, ONCE, TIMELY, ENDED),
    "no-reconciliation": (RIGHT,),
}
# The claims that a variant fails at some seeds and holds at others.
SOMETIMES: dict[str, tuple[str, ...]] = {
    "refuse-early": (TIMELY,),  # the provider may give up before the webhook can be taken
    "no-key": (TIMELY, ENDED),  # two charges of one payment can end differently
    "no-reconciliation": (ENDED,),  # the end of a payment may be known to the file only
}
ALTERNATIVES = ("accounting-mark-after",)  # replaces a measure by another one

ATTEMPTS = 3
PLANNED_ATTEMPTS = 3  # the judge's own number, so that it finds a dunning that ends too early, too late or never
# Fact to the object it moves and the states from which it may; no state is "", the object is not known yet.
NEXT: dict[str, tuple[str, tuple[str, ...]]] = {
    "captured": ("payment", ("created", "unknown", "action")),
    "failed": ("payment", ("created", "unknown", "action")),
    "refunded": ("refund", ("",)),
    "dispute withdrawn": ("dispute", ("",)),
    "dispute won": ("dispute", ("dispute withdrawn",)),
    "dispute lost": ("dispute", ("dispute withdrawn",)),
    "paid out": ("payout", ("",)),
    "received": ("payout", ("paid out",)),
    "payout returned": ("payout", ("paid out",)),
}
# What must be posted at every seed, so that the claims are about something.
KINDS = ("invoiced", "voided", "captured, invoice void", "recognised", *(kind for kind in NEXT if kind != "failed"))
RACED = "captured by the link, invoice open"  # at one seed at least: the link was used before the void
EARNING = "state = 'paid' AND deferred > 0 AND NOT suspended"  # invoices whose days are recognised
NEEDS_CAPTURED = ("refunded", "dispute withdrawn")  # facts about a payment that must have been captured
SCHEMA = {
    "ledger": """
        CREATE TABLE invoice (id TEXT PRIMARY KEY, account INT, currency TEXT, gross INT, deferred INT, state TEXT,
                              returned INT DEFAULT 0, suspended INT DEFAULT 0);
        CREATE TABLE payment (id TEXT PRIMARY KEY, invoice TEXT, attempt INT, state TEXT);
        CREATE TABLE fact (object TEXT PRIMARY KEY, state TEXT);
        CREATE TABLE parked (kind TEXT, object TEXT, fact TEXT, PRIMARY KEY (kind, object));
        CREATE TABLE seen (event TEXT PRIMARY KEY);
        CREATE TABLE posting (id INTEGER PRIMARY KEY, cause TEXT, account INT);
        CREATE TABLE line (posting INT, book TEXT, currency TEXT, cents INT);
        CREATE TABLE position (account INT PRIMARY KEY, feed_seq INT);
        CREATE TABLE outbox (id INTEGER PRIMARY KEY, account INT, feed_seq INT, cause TEXT, lines TEXT);
        CREATE TABLE relay (mark INT);
        INSERT INTO relay VALUES (0);""",
    "provider": provider.SCHEMA,
    "log": "CREATE TABLE feed (id INTEGER PRIMARY KEY, account INT, feed_seq INT, cause TEXT, lines TEXT);",
    "accounting": """
        CREATE TABLE mark (position INT);
        INSERT INTO mark VALUES (0);
        CREATE TABLE last (account INT PRIMARY KEY, feed_seq INT);
        CREATE TABLE book (id INTEGER PRIMARY KEY, account INT, feed_seq INT, cause TEXT, lines TEXT);""",
}


def connect(folder: Path, name: str) -> sqlite3.Connection:
    """Autocommit, so that every transaction is begun by hand; a process kill does not need synchronous writes."""
    db = sqlite3.connect(folder / f"{name}.db", isolation_level=None)
    db.execute("PRAGMA synchronous=OFF")
    return db


def create(folder: Path, invoices: list[tuple[str, int, str, int]]) -> None:
    """The four databases, with the invoices to come in the ledger."""
    for name, schema in SCHEMA.items():
        db = connect(folder, name)
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(schema)
        if name == "ledger":
            rows = [(*invoice, Price(invoice[3]).net, "planned") for invoice in invoices]
            db.executemany(
                "INSERT INTO invoice (id, account, currency, gross, deferred, state) VALUES (?, ?, ?, ?, ?, ?)", rows
            )
        db.close()


def in_memory() -> str | None:
    """A folder whose files are never written to a disk, where there is one: nothing here outlives the run."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def made(kind: str, state: str) -> bool:
    """Whether an object in this state has made the step of this fact: it is the state or one before it."""
    return kind == state or state in NEXT and any(made(kind, before) for before in NEXT[state][1])


class Crasher:
    """Kills this process at a marked point, with a probability."""

    def __init__(self, rng: random.Random, probability: float) -> None:
        self.rng, self.probability = rng, probability

    def point(self) -> None:
        if self.rng.random() < self.probability:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Turn:
    """What a process has in its hands for one turn."""

    folder: Path
    variant: str
    seed: int
    rng: random.Random
    crash: Crasher


class Biller:
    """Invoices, charges, webhooks, dunning and recognition, all through the same states."""

    def __init__(self, turn: Turn) -> None:
        self.turn, self.variant, self.crash, self.rng = turn, turn.variant, turn.crash, turn.rng
        self.ledger, self.log = connect(turn.folder, "ledger"), connect(turn.folder, "log")
        self.provider = Provider(connect(turn.folder, "provider"), turn.seed)
        self.posted: list[tuple[int, int, str, str]] = []

    # Turns

    def bill(self) -> None:
        """A few invoices fall due, then every charge that has no answer is sent."""
        for (id_,) in self._all("SELECT id FROM invoice WHERE state = 'planned' ORDER BY id LIMIT 6"):
            self._commit(lambda id_=id_: self._open_invoice(id_))
        for (id_,) in self._all("SELECT id FROM payment WHERE state IN ('created', 'unknown') ORDER BY id LIMIT 10"):
            self._charge(id_)
        paid = self._all(f"SELECT id FROM invoice WHERE {EARNING} ORDER BY id")
        for (id_,) in paid if len(paid) < 4 else self.rng.sample(paid, 2):
            self._commit(lambda id_=id_: self._recognise(id_))

    def hear(self) -> None:
        """Takes webhooks; each is acknowledged after its effect is committed."""
        for _ in range(12):
            delivered = self.provider.deliver(self.rng)
            if delivered is None:
                return
            id_, fact = delivered
            taken = self._commit(lambda id_=id_, fact=fact: self._take(f"webhook-{id_}", fact))
            self.crash.point()
            if taken or self.variant != "refuse-early":
                self.provider.acknowledge(id_)

    def read_statement(self) -> None:
        """Books the payouts that the bank has received; the file is read again every night."""
        for fact in self.provider.statement():
            self._commit(lambda fact=fact: self._take(f"statement-{fact.object}", fact))

    def reconcile(self) -> list[Fact]:
        """Books what the provider's file has and the states lack or contradict; returns it."""
        found = []
        for fact in self.provider.report():
            if not self._known(fact):
                self._commit(lambda fact=fact: self._take(f"file-{fact.kind}-{fact.object}", fact))
                found.append(fact)
        return found

    # Charges

    def _charge(self, id_: str) -> None:
        query = "SELECT invoice, attempt, currency, gross FROM payment JOIN invoice ON invoice.id = invoice WHERE payment.id = ?"
        invoice, _, currency, gross = self._one(query, id_)
        key = f"{id_}-{self.rng.random()}" if self.variant == "no-key" else id_
        status, fee = self.provider.charge(key, id_, invoice, currency, gross)
        self.crash.point()
        if self.rng.random() < 0.3:
            status = "no answer"
        fact = Fact(status, id_, id_, currency, gross, fee)
        self._commit(lambda: self._answer(fact))

    def _answer(self, fact: Fact) -> bool:
        if fact.kind == "no answer" and self.variant == "timeout-is-failure":
            fact = Fact("failed", fact.object, fact.payment, fact.currency, fact.gross)
        if fact.kind in ("captured", "failed"):
            return self._take(f"answer-{fact.object}", fact)
        state = "unknown" if fact.kind == "no answer" else "action"
        query = "UPDATE payment SET state = ? WHERE id = ? AND state IN ('created', 'unknown')"
        self.ledger.execute(query, (state, fact.object))
        return True

    # Facts

    def _take(self, source: str, fact: Fact) -> bool:
        """Applies a fact and what was parked behind it; False if it came too early or contradicts the state."""
        if self.variant in ("ids-only", "event-ids") and not self._first_time(source):
            return True
        ready = self.variant == "ids-only" or self._ready(fact)
        if ready is None:
            return True
        if not ready:
            if self.variant not in ("drop-early", "refuse-early"):
                row = (fact.kind, fact.object, json.dumps(vars(fact)))
                self.ledger.execute("INSERT OR IGNORE INTO parked VALUES (?, ?, ?)", row)
            return False
        self._apply(fact)
        self._unpark()
        return True

    def _first_time(self, source: str) -> bool:
        return self.ledger.execute("INSERT OR IGNORE INTO seen VALUES (?)", (source,)).rowcount == 1

    def _known(self, fact: Fact) -> bool:
        return self._ready(fact) is None

    def _ready(self, fact: Fact) -> bool | None:
        """Whether the fact is the next step of its object; None if the object has made that step."""
        what, before = NEXT[fact.kind]
        state = self._state("payment" if what == "payment" else "fact", fact.object)
        if state not in before:
            return None if made(fact.kind, state) else False
        if fact.kind == "captured" and (fact.currency, fact.gross) != self._owed(fact.payment):
            return False  # another amount than the invoice's: a person decides
        return fact.kind not in NEEDS_CAPTURED or self._state("payment", fact.payment) == "captured"

    def _owed(self, payment: str) -> tuple[object, ...]:
        """Currency and amount of the payment's invoice."""
        query = "SELECT currency, gross FROM payment JOIN invoice ON invoice.id = invoice WHERE payment.id = ?"
        return self._one(query, payment)

    def _apply(self, fact: Fact) -> None:
        if fact.kind in ("captured", "failed"):
            self.ledger.execute("UPDATE payment SET state = ? WHERE id = ?", (fact.kind, fact.object))
            return self._captured(fact) if fact.kind == "captured" else self._failed(fact)
        self.ledger.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (fact.object, fact.kind))
        post = getattr(books, fact.kind.replace(" ", "_"))
        if fact.kind == "received":
            return self._post(fact.kind, 0, fact.object, post(fact.sent))
        if NEXT[fact.kind][0] == "payout":
            return self._post(fact.kind, 0, fact.object, post(fact.currency, fact.gross, fact.sent))
        query = "SELECT invoice.id, account FROM payment JOIN invoice ON invoice.id = invoice WHERE payment.id = ?"
        invoice, account = self._one(query, fact.payment)
        if fact.kind in ("refunded", "dispute lost"):
            return self._post(
                fact.kind, account, fact.object, post(fact.currency, self._give_back(invoice, fact.gross))
            )
        suspended = fact.kind == "dispute withdrawn"
        self.ledger.execute("UPDATE invoice SET suspended = ? WHERE id = ?", (suspended, invoice))
        return self._post(fact.kind, account, fact.object, post(fact.currency, fact.gross))

    def _give_back(self, invoice: object, amount: int) -> Return:
        """Notes on the invoice what a refund or a lost dispute takes back."""
        back = Return(amount, *self._one("SELECT gross, deferred, returned FROM invoice WHERE id = ?", str(invoice)))
        query = "UPDATE invoice SET deferred = deferred - ?, returned = returned + ? WHERE id = ?"
        self.ledger.execute(query, (back.unearned, amount, invoice))
        return back

    def _captured(self, fact: Fact) -> None:
        query = "SELECT invoice.id, account, invoice.state FROM payment JOIN invoice ON invoice.id = invoice WHERE payment.id = ?"
        invoice, account, state = self._one(query, fact.object)
        post = books.captured if state == "open" else books.unapplied
        self.ledger.execute("UPDATE invoice SET state = 'paid' WHERE id = ? AND state = 'open'", (invoice,))
        self._post("captured", account, fact.object, post(fact.currency, fact.gross, fact.fee))

    def _failed(self, fact: Fact) -> None:
        """Dunning: another attempt, or after the last the invoice is void."""
        query = "SELECT invoice.id, attempt, account, invoice.state FROM payment JOIN invoice ON invoice.id = invoice WHERE payment.id = ?"
        invoice, attempt, account, state = self._one(query, fact.object)
        if state != "open":
            return
        if attempt < ATTEMPTS:
            row = (f"{invoice}-{attempt + 1}", invoice, attempt + 1)
            self.ledger.execute("INSERT OR IGNORE INTO payment VALUES (?, ?, ?, 'created')", row)
            return
        self.ledger.execute("UPDATE invoice SET state = 'void', deferred = 0 WHERE id = ?", (invoice,))
        self._post("voided", account, fact.object, books.voided(fact.currency, fact.gross))

    def _unpark(self) -> None:
        """Tries what waits, until nothing moves; an account has few of them."""
        moved = True
        while moved:
            moved = False
            for (text,) in self._all("SELECT fact FROM parked ORDER BY kind, object"):
                fact = Fact(**json.loads(text))
                if (ready := self._ready(fact)) is not False:
                    self.ledger.execute("DELETE FROM parked WHERE kind = ? AND object = ?", fact.key)
                    if ready:
                        self._apply(fact)
                        moved = True

    def _open_invoice(self, id_: str) -> bool:
        account, currency, gross = self._one("SELECT account, currency, gross FROM invoice WHERE id = ?", id_)
        self.ledger.execute("UPDATE invoice SET state = 'open' WHERE id = ?", (id_,))
        self.ledger.execute("INSERT INTO payment VALUES (?, ?, 1, 'created')", (f"{id_}-1", id_))
        # By the link that dunning mails the customer may pay at any time, also when the invoice is void.
        self.ledger.execute("INSERT INTO payment VALUES (?, ?, 0, 'action')", (f"{id_}-link", id_))
        self._post("invoiced", account, id_, books.invoiced(currency, gross))
        return True

    def _recognise(self, id_: str) -> bool:
        account, currency, deferred = self._one("SELECT account, currency, deferred FROM invoice WHERE id = ?", id_)
        self.ledger.execute("UPDATE invoice SET deferred = 0 WHERE id = ?", (id_,))
        self._post("recognised", account, id_, books.recognised(currency, deferred))
        return True

    # Postings

    def _post(self, what: str, account: int, object_: str, lines: list[Line]) -> None:
        lines = [line for line in lines if line[2]]
        if not books.balanced(lines) or not {line[0] for line in lines} <= books.BOOKS:
            raise ValueError(f"{what} {object_} does not balance: {lines}")
        cause = f"{what} {object_}"
        id_ = self.ledger.execute("INSERT INTO posting (cause, account) VALUES (?, ?)", (cause, account)).lastrowid
        for n, line in enumerate(lines):
            self.ledger.execute("INSERT INTO line VALUES (?, ?, ?, ?)", (id_, *line))
            if n == 0 and self.variant == "split-transaction":
                self.ledger.execute("COMMIT")
                self.crash.point()
                self.ledger.execute("BEGIN IMMEDIATE")
        (feed_seq,) = self.ledger.execute(
            "INSERT INTO position VALUES (?, 1) ON CONFLICT (account) DO UPDATE SET feed_seq = feed_seq + 1 "
            "RETURNING feed_seq",
            (account,),
        ).fetchone()
        row = (account, feed_seq, cause, json.dumps(lines))
        if self.variant == "dual-write":
            self.posted.append(row)
        else:
            self.ledger.execute("INSERT INTO outbox (account, feed_seq, cause, lines) VALUES (?, ?, ?, ?)", row)

    def _commit(self, work: Callable[[], bool]) -> bool:
        self.ledger.execute("BEGIN IMMEDIATE")
        self.posted.clear()
        result = work()
        self.crash.point()
        self.ledger.execute("COMMIT")
        self.crash.point()
        for row in self.posted:
            publish(self.log, row)
        return result

    def _state(self, table: str, id_: str) -> str:
        column = "id" if table == "payment" else "object"
        row = self.ledger.execute(f"SELECT state FROM {table} WHERE {column} = ?", (id_,)).fetchone()
        return str(row[0]) if row else ""

    def _all(self, query: str) -> list[tuple[str, ...]]:
        return self.ledger.execute(query).fetchall()

    def _one(self, query: str, id_: str) -> tuple[object, ...]:
        row: tuple[object, ...] = self.ledger.execute(query, (id_,)).fetchone()
        return row


def publish(log: sqlite3.Connection, row: tuple[object, ...]) -> None:
    log.execute("INSERT INTO feed (account, feed_seq, cause, lines) VALUES (?, ?, ?, ?)", row)


def relay(turn: Turn) -> None:
    """Publishes a batch of the outbox; the mark moves after it, so a crash publishes some of it again."""
    ledger, log = connect(turn.folder, "ledger"), connect(turn.folder, "log")
    (mark,) = ledger.execute("SELECT mark FROM relay").fetchone()
    query = "SELECT id, account, feed_seq, cause, lines FROM outbox WHERE id > ? ORDER BY id LIMIT 25"
    rows = ledger.execute(query, (mark,)).fetchall()
    if rows and turn.variant == "mark-before":
        ledger.execute("UPDATE relay SET mark = ?", (rows[-1][0],))
    for row in rows:
        turn.crash.point()
        publish(log, row[1:])
    turn.crash.point()
    if rows and turn.variant != "mark-before":
        ledger.execute("UPDATE relay SET mark = ?", (rows[-1][0],))


def account_for(turn: Turn) -> None:
    """Accounting takes a batch of the feed."""
    log, own = connect(turn.folder, "log"), connect(turn.folder, "accounting")
    (mark,) = own.execute("SELECT position FROM mark").fetchone()
    query = "SELECT id, account, feed_seq, cause, lines FROM feed WHERE id > ? ORDER BY id LIMIT 20"
    rows = log.execute(query, (mark,)).fetchall()
    if not rows:
        return
    move = ("UPDATE mark SET position = ?", (rows[-1][0],))
    if turn.variant == "accounting-mark-first":
        own.execute(*move)
        turn.crash.point()
    own.execute("BEGIN IMMEDIATE")
    for _, account, seq, cause, lines in rows:
        turn.crash.point()
        last = own.execute("SELECT feed_seq FROM last WHERE account = ?", (account,)).fetchone()
        if last and seq <= last[0] and turn.variant != "trusting-accounting":
            continue
        own.execute("INSERT OR REPLACE INTO last VALUES (?, ?)", (account, seq))
        row = (account, seq, cause, lines)
        own.execute("INSERT INTO book (account, feed_seq, cause, lines) VALUES (?, ?, ?, ?)", row)
    if turn.variant not in ("accounting-mark-first", "accounting-mark-after"):
        own.execute(*move)
    turn.crash.point()
    own.execute("COMMIT")
    turn.crash.point()
    if turn.variant == "accounting-mark-after":
        own.execute(*move)


ACTORS: dict[str, Callable[[Turn], object]] = {
    "bill": lambda turn: Biller(turn).bill(),
    "hear": lambda turn: Biller(turn).hear(),
    "relay": relay,
    "account": account_for,
}


class World:
    """Runs turns in processes of their own until there is nothing left to do."""

    def __init__(self, folder: Path, variant: str, seed: int, probability: float) -> None:
        self.folder, self.variant, self.seed, self.probability = folder, variant, seed, probability
        self.rng = random.Random(seed)
        self.turns = 0
        self.kills: Counter[str] = Counter()
        self.databases = {name: connect(folder, name) for name in SCHEMA}
        self.provider = Provider(self.databases["provider"], seed)

    def settle(self) -> None:
        """Takes turns until the provider, the biller, the relay and accounting have nothing left."""
        for _ in range(3_000):
            busy = self._busy()
            if not busy and not self.provider.outstanding():
                return
            if busy:
                self.take_turn(self.rng.choice(busy))
            self.provider.live(self.rng)
        raise RuntimeError("the simulation does not come to rest")

    def _busy(self) -> list[str]:
        """The processes that have something to do."""
        (published,) = self.databases["ledger"].execute("SELECT mark FROM relay").fetchone()
        (read,) = self.databases["accounting"].execute("SELECT position FROM mark").fetchone()
        work = {
            "bill": f"SELECT 1 FROM invoice WHERE state = 'planned' OR {EARNING} "
            "UNION SELECT 1 FROM payment WHERE state IN ('created', 'unknown') LIMIT 1",
            "hear": f"SELECT 1 FROM event WHERE {provider.UNHEARD} LIMIT 1",
            "relay": f"SELECT 1 FROM outbox WHERE id > {published} LIMIT 1",
            "account": f"SELECT 1 FROM feed WHERE id > {read} LIMIT 1",
        }
        where = {"bill": "ledger", "hear": "provider", "relay": "ledger", "account": "log"}
        return [actor for actor, query in work.items() if self.databases[where[actor]].execute(query).fetchone()]

    def take_turn(self, actor: str) -> None:
        self.turns += 1
        rng = random.Random(self.seed * 1_000_003 + self.turns)
        turn = Turn(self.folder, self.variant, self.seed, rng, Crasher(rng, self.probability))
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                ACTORS[actor](turn)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            self.kills[actor] += 1
        elif status != 0:
            raise RuntimeError(f"the turn of {actor} failed with wait status {status}")

    def postings(self) -> int:
        (count,) = self.databases["ledger"].execute("SELECT count(*) FROM posting").fetchone()
        return int(count)

    def night(self) -> list[Fact]:
        """Reads the bank's statement, and compares the provider's file unless nobody does."""
        rng = random.Random(self.seed)
        biller = Biller(Turn(self.folder, self.variant, self.seed, rng, Crasher(rng, 0.0)))
        biller.read_statement()
        return biller.reconcile() if self.variant != "no-reconciliation" else []


def plan(rng: random.Random, accounts: int, months: int) -> list[tuple[str, int, str, int]]:
    """The invoices to come: id, account, currency, gross. One in ten months has a second one for an upgrade, prorated."""
    out = []
    for account in range(1, accounts + 1):
        currency = "USD" if account % 3 == 0 else "EUR"
        for month in range(1, months + 1):
            gross = rng.choice((499, 899, 1299))
            out.append((f"in-{account}-{month}", account, currency, gross))
            if rng.random() < 0.1:
                days = rng.randint(1, 29)
                out.append((f"in-{account}-{month}u", account, currency, 400 * days // 30 + 1))
    return out


def simulate(
    variant: str = "design", accounts: int = 16, months: int = 4, seed: int = SEEDS[0], probability: float = 0.04
) -> Verdict:
    """Raises KeyError for an unknown variant."""
    verdict = Verdict("ledger", f"{variant}: {VARIANTS[variant]}")
    invoices = plan(random.Random(seed), accounts, months)
    with tempfile.TemporaryDirectory(prefix="ledger-", dir=in_memory()) as name:
        folder = Path(name)
        create(folder, invoices)
        world = World(folder, variant, seed, probability)
        world.settle()
        found = _reconciled(world)
        Judge(verdict, folder, world.provider, invoices).judge(found)
        (deliveries,) = world.provider.db.execute("SELECT sum(deliveries) FROM event").fetchone()
        (events,) = world.provider.db.execute("SELECT count(*) FROM event").fetchone()
    verdict.figures |= {"invoices": len(invoices), "events": events, "deliveries": deliveries}
    verdict.figures |= {"kills": world.kills.total(), "turns": world.turns, "found": len(found)}
    verdict.figures |= {f"kills_{actor}": world.kills[actor] for actor in ACTORS}
    return verdict


def _reconciled(world: World) -> list[Fact]:
    """The nightly comparison, repeated until it finds nothing new: a failure found late begins another attempt."""
    found: list[Fact] = []
    for _ in range(20):
        before = world.postings()
        new = [fact for fact in world.night() if fact not in found]
        if not new and world.postings() == before:
            return found
        found += new
        world.settle()
    raise RuntimeError("the nightly comparison does not come to an end")


class Judge:
    """Holds the books against the provider's file, the bank's and the plan; knows nothing of how they came about."""

    def __init__(
        self, verdict: Verdict, folder: Path, source: Provider, invoices: list[tuple[str, int, str, int]]
    ) -> None:
        self.verdict, self.source, self.invoices = verdict, source, invoices
        self.ledger, self.own = connect(folder, "ledger"), connect(folder, "accounting")

    def judge(self, found: list[Fact]) -> None:
        self._balances()
        self._books()
        self._once()
        self._timely(found)
        self._ended()
        self._feed()
        self._order()
        self._kinds()

    def _balances(self) -> None:
        lines: dict[int, list[Line]] = defaultdict(list)
        for posting, *line in self.ledger.execute("SELECT posting, book, currency, cents FROM line"):
            lines[posting].append((line[0], line[1], line[2]))
        bad = sum(not books.balanced(group) for group in lines.values())
        whole = books.balanced(line for group in lines.values() for line in group)
        detail = f"{bad} of {len(lines)} postings out of balance, trial balance {'zero' if whole else 'not zero'}"
        self.verdict.claim(BALANCES, whole and not bad, detail)
        self.verdict.figures |= {"postings": len(lines)}

    def _books(self) -> None:
        got = books.totals(self.ledger.execute("SELECT book, currency, cents FROM line"))
        want = self._expected()
        wrong = sorted(str(k) for k in got.keys() | want.keys() if got.get(k, 0) != want.get(k, 0))
        strange = self._strange()
        detail = f"{len(wrong)} of {len(got.keys() | want.keys())} balances wrong {', '.join(wrong[:3])}".strip()
        self.verdict.claim(RIGHT, not wrong and not strange, f"{detail}, {strange} postings at another account")

    def _strange(self) -> int:
        """Postings at another account than the plan's for their invoice; a payout has no account."""
        accounts = {id_: account for id_, account, _, _ in self.invoices}
        query = "SELECT id, payment FROM refund UNION SELECT id, payment FROM dispute"
        payments = dict(self.source.db.execute(query))
        wrong = 0
        for cause, account in self.ledger.execute("SELECT cause, account FROM posting"):
            what, _, object_ = cause.rpartition(" ")
            payment = payments.get(object_, object_)
            invoice = object_ if what in ("invoiced", "recognised") else payment.rsplit("-", 1)[0]
            wrong += account != accounts.get(invoice, 0)
        return wrong

    def _expected(self) -> dict[tuple[str, str], int]:
        """From the files and the plan, without the posting functions, so that a wrong posting differs."""
        read = self.source.db.execute
        prices = {id_: (currency, gross) for id_, _, currency, gross in self.invoices}
        lines: list[Line] = []
        paid: set[str] = set()
        back: dict[str, dict[str, Fact]] = defaultdict(dict)  # by the cause of the posting
        for fact in self.source.report():
            invoice = fact.payment.rsplit("-", 1)[0]
            if fact.kind == "captured":
                lines += [("fees", fact.currency, fact.fee)]
                if self._void_before(fact.object):
                    lines += [("unapplied payments", fact.currency, -fact.gross)]
                else:
                    paid.add(invoice)
            elif fact.kind == "dispute withdrawn":
                lines += [("disputed", fact.currency, fact.gross), ("fees", fact.currency, books.DISPUTE_FEE)]
            elif fact.kind in ("dispute won", "dispute lost"):
                lines += [("disputed", fact.currency, -fact.gross)]
            if fact.kind in ("refunded", "dispute lost"):
                back[invoice][f"{fact.kind} {fact.object}"] = fact
        for invoice in paid:
            currency, gross = prices[invoice]
            lines += self._earned(invoice, currency, gross, back[invoice])
        for currency, net, sent, status in read("SELECT currency, net, sent, status FROM payout"):
            if status != "returned" and currency != books.HOME:
                booked = round(net * books.BOOKING_RATE[currency])
                lines += [("fx clearing", currency, net), ("fx clearing", books.HOME, -booked)]
                lines += [("fx difference", books.HOME, booked - sent)]
            lines += [("in transit", books.HOME, sent)] if status == "sent" else []
        lines += [("clearing", currency, self.source.balance(currency)) for currency in provider.CURRENCIES]
        lines += [("bank", books.HOME, cents) for (cents,) in read("SELECT cents FROM bank")]
        return books.totals(lines)

    def _earned(self, invoice: str, currency: str, gross: int, back: dict[str, Fact]) -> list[Line]:
        """Tax, revenue, refunds and chargebacks of a paid invoice: what is given back after recognition is no revenue.

        Amounts are the file's. Which came first, recognition or return, is in no file and is asked of the ledger.
        """
        deferred, returned, earned = Price(gross).net, 0, False
        tax = Price(gross).tax
        lines: list[Line] = []
        for cause in self._in_order(f"recognised {invoice}", back):
            if cause not in back:
                earned = True
                continue
            before, after = min(returned, gross), min(returned + back[cause].gross, gross)
            owed = Price(after).tax - Price(before).tax
            net = after - before - owed
            unearned = 0 if earned else min(deferred, net)
            book = "refunds" if back[cause].kind == "refunded" else "chargebacks"
            lines.append((book, currency, net - unearned))
            lines.append(("chargebacks", currency, back[cause].gross - (after - before)))  # given back twice
            deferred, returned, tax = deferred - unearned, returned + back[cause].gross, tax - owed
        return [*lines, ("tax", currency, -tax), ("revenue", currency, -deferred)]

    def _void_before(self, payment: str) -> bool:
        """Whether the customer paid an invoice that was void. Which came first is in no file and is asked of the ledger.

        Only the link can be used then: a capture of an attempt that is booked after the void is a fault.
        """
        if not payment.endswith("-link"):
            return False
        causes = (f"voided {payment.removesuffix('-link')}-{PLANNED_ATTEMPTS}", f"captured {payment}")
        query = "SELECT cause FROM posting WHERE cause IN (?, ?) ORDER BY id LIMIT 1"
        return self.ledger.execute(query, causes).fetchone() == (causes[0],)

    def _in_order(self, recognised: str, back: dict[str, Fact]) -> list[str]:
        """The causes in the order in which the ledger posted them; what it did not post comes last."""
        causes = [recognised, *back]
        marks = ", ".join("?" * len(causes))
        query = f"SELECT cause FROM posting WHERE cause IN ({marks}) ORDER BY id"
        posted = [cause for (cause,) in self.ledger.execute(query, causes)]
        return list(dict.fromkeys([*posted, *causes]))

    def _once(self) -> None:
        query = "SELECT count(*) FROM charge WHERE status = 'captured' GROUP BY invoice HAVING count(*) > 1"
        twice = len(self.source.db.execute(query).fetchall())
        self.verdict.claim(ONCE, twice == 0, f"{twice} invoices charged more than once")
        self.verdict.figures |= {"twice": twice}

    def _timely(self, found: list[Fact]) -> None:
        late = [fact for fact in found if fact.key not in self.source.lost() and not self._follows(fact)]
        self.verdict.claim(TIMELY, not late, f"{len(late)} delivered webhooks found by the reconciliation only")
        self.verdict.figures |= {"late": len(late), "lost": len(self.source.lost())}

    def _follows(self, fact: Fact) -> bool:
        """Whether the fact had to wait for one whose webhook was lost: then nothing but the file could release it."""
        needs = {("captured", fact.payment), ("dispute withdrawn", fact.object)} - {fact.key}
        return bool(needs & self.source.lost())

    def _ended(self) -> None:
        wrong = 0
        truth = dict(self.source.db.execute("SELECT payment, status FROM charge ORDER BY id"))
        for id_, attempt, state in self.ledger.execute("SELECT id, attempt, state FROM payment"):
            wrong += truth.get(id_, "" if attempt else "action") != state  # an unused link stays as it was
        query = "SELECT count(*) FROM invoice WHERE state NOT IN ('paid', 'void')"
        (open_,) = self.ledger.execute(query).fetchone()
        dunned = self._dunned_wrongly()
        detail = (
            f"{wrong} payments differ, {open_} invoices are still open, {dunned} dunned too often or void too early"
        )
        self.verdict.claim(ENDED, not (wrong or open_ or dunned), detail)

    def _dunned_wrongly(self) -> int:
        """No invoice has more attempts than planned, and a void one has as many, each failed at the provider."""
        query = "SELECT invoice, count(*) FROM payment WHERE attempt > 0 GROUP BY invoice"
        attempts = dict(self.ledger.execute(query))
        query = "SELECT invoice, count(DISTINCT payment) FROM charge WHERE status = 'failed' GROUP BY invoice"
        failed = dict(self.source.db.execute(query))
        void = {id_ for (id_,) in self.ledger.execute("SELECT id FROM invoice WHERE state = 'void'")}
        return sum(
            count > PLANNED_ATTEMPTS or invoice in void and failed.get(invoice, 0) != PLANNED_ATTEMPTS
            for invoice, count in attempts.items()
        )

    def _feed(self) -> None:
        sent = Counter(self.ledger.execute("SELECT cause, account FROM posting"))
        got = Counter(self.own.execute("SELECT cause, account FROM book"))
        missing, extra = (sent - got).total(), (got - sent).total()
        self.verdict.claim(FEED, not missing and not extra, f"{missing} missing, {extra} too many")
        self.verdict.figures |= {"missing": missing, "extra": extra}

    def _order(self) -> None:
        """Each account's sequence grows, and what a posting needs was posted before it."""
        last: dict[int, int] = defaultdict(int)
        seen: set[str] = set()
        wrong = 0
        query = "SELECT id, payment FROM refund UNION SELECT id, payment FROM dispute"
        payments = dict(self.source.db.execute(query))
        for account, seq, cause in self.own.execute("SELECT account, feed_seq, cause FROM book ORDER BY id"):
            wrong += seq <= last[account] or not _needs(cause, payments) <= seen
            wrong += cause.startswith("recognised ") and not self._captured_in(seen, cause.removeprefix("recognised "))
            last[account] = max(last[account], seq)
            seen.add(cause)
        self.verdict.claim(ORDER, wrong == 0, f"{wrong} postings out of order")

    @staticmethod
    def _captured_in(seen: set[str], invoice: str) -> bool:
        """Whether a payment of the invoice was captured: days of an unpaid invoice are not revenue."""
        payments = (*range(1, PLANNED_ATTEMPTS + 1), "link")
        return any(f"captured {invoice}-{payment}" in seen for payment in payments)

    def _kinds(self) -> None:
        """What was posted, by kind of fact: a claim about a kind that never occurs would say nothing."""
        kinds = Counter(cause.rpartition(" ")[0] for (cause,) in self.ledger.execute("SELECT cause FROM posting"))
        query = "SELECT count(*) FROM line WHERE book = 'unapplied payments'"
        kinds["captured, invoice void"] = self.ledger.execute(query).fetchone()[0]
        query = "SELECT count(*) FROM posting JOIN invoice ON cause = 'captured ' || invoice.id || '-link' WHERE state = 'paid'"
        kinds[RACED] = self.ledger.execute(query).fetchone()[0]
        self.verdict.figures |= {f"posted {kind}": kinds[kind] for kind in (*KINDS, RACED)}


def _needs(cause: str, payments: dict[str, str]) -> set[str]:
    """What must have been posted before: a dispute is closed after it was opened, money moves back after it came."""
    what, _, object_ = cause.rpartition(" ")
    if what in ("refunded", "dispute withdrawn"):
        return {f"captured {payments[object_]}"}
    if what in ("dispute won", "dispute lost"):
        return {f"dispute withdrawn {object_}"}
    if what in ("received", "payout returned"):
        return {f"paid out {object_}"}
    return {f"invoiced {object_.rsplit('-', 1)[0]}"} if what in ("captured", "voided") else set()
