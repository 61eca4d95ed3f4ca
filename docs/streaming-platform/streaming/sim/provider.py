"""The world outside the ledger: a payment provider that speaks by webhooks, its customers, and the bank.

The provider is a database of its own. It keeps its promises to the letter and, but for the answer to a repeated key, no more: an idempotency key is honoured,
an answer may not arrive, webhooks come in any order, more than once and sometimes never, are given up
when they are refused for long, and carry no sequence number. The bank's statement comes later than the payout.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
from dataclasses import dataclass

from .books import DISPUTE_FEE, HOME

SCHEMA = """
    CREATE TABLE charge (id INTEGER PRIMARY KEY, key TEXT, payment TEXT, invoice TEXT, currency TEXT, gross INT,
                         fee INT, status TEXT, examined INT DEFAULT 0);
    CREATE TABLE refund (id TEXT PRIMARY KEY, payment TEXT, currency TEXT, gross INT);
    CREATE TABLE dispute (id TEXT PRIMARY KEY, payment TEXT, currency TEXT, gross INT, status TEXT);
    CREATE TABLE payout (id TEXT PRIMARY KEY, currency TEXT, net INT, sent INT, status TEXT);
    CREATE TABLE bank (id TEXT PRIMARY KEY, cents INT);
    CREATE TABLE event (id INTEGER PRIMARY KEY, kind TEXT, object TEXT, payment TEXT, currency TEXT, gross INT, fee INT,
                        sent INT, acknowledged INT DEFAULT 0, lost INT, given_up INT DEFAULT 0,
                        deliveries INT DEFAULT 0);"""
CURRENCIES = ("EUR", "USD")
UNHEARD = "lost = 0 AND given_up = 0 AND acknowledged = 0"  # webhooks that are still sent


@dataclass(frozen=True)
class Fact:
    """Something that happened at the provider or the bank; `object` is what it happened to.

    `fee` is what the provider kept of a captured payment, `sent` what a payout is in the bank's currency.
    """

    kind: str
    object: str
    payment: str
    currency: str
    gross: int
    fee: int = 0
    sent: int = 0

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.object


def chance(*what: object) -> float:
    """A number from 0 to 1 that depends on its arguments only, so that repeating a call changes nothing."""
    digest = hashlib.blake2b("/".join(map(str, what)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


class Provider:
    def __init__(self, db: sqlite3.Connection, seed: int) -> None:
        self.db, self.seed = db, seed

    def charge(self, key: str, payment: str, invoice: str, currency: str, gross: int) -> tuple[str, int]:
        """Charges once per key; a repeated key gets the charge as it is now: the status and the fee."""
        row = self.db.execute("SELECT status, fee FROM charge WHERE key = ?", (key,)).fetchone()
        if row:
            return str(row[0]), int(row[1])
        status = self._outcome(payment, invoice)
        self.db.execute("BEGIN IMMEDIATE")
        fee = 0 if status == "failed" else gross * 2 // 100
        values = (key, payment, invoice, currency, gross, fee, status)
        self.db.execute(
            "INSERT INTO charge (key, payment, invoice, currency, gross, fee, status) VALUES (?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        if status != "action":
            self._emit(Fact(status, payment, payment, currency, gross, fee))
        self.db.execute("COMMIT")
        return status, fee

    def _outcome(self, payment: str, invoice: str) -> str:
        """One invoice in eight meets a card that declines every attempt."""
        if chance(self.seed, "dead card", invoice) < 0.125:
            return "failed"
        luck = chance(self.seed, "outcome", payment)
        return "failed" if luck < 0.15 else "action" if luck < 0.22 else "captured"

    def _emit(self, fact: Fact) -> None:
        lost = chance(self.seed, "lost", *fact.key) < 0.08
        columns = "kind, object, payment, currency, gross, fee, sent, lost"
        self.db.execute(f"INSERT INTO event ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*vars(fact).values(), lost))

    def live(self, rng: random.Random) -> None:
        """Customers authenticate, pay late, ask for their money back and dispute; banks decide; balances are paid out."""
        self.db.execute("BEGIN IMMEDIATE")
        self._pay_late(rng)
        query = "SELECT id, payment, currency, gross, fee, status FROM charge WHERE examined = 0 AND status <> 'failed'"
        for id_, payment, currency, gross, fee, status in self.db.execute(query).fetchall():
            if status == "action":
                outcome, fee = ("captured", fee) if rng.random() < 0.7 else ("failed", 0)
                self.db.execute("UPDATE charge SET status = ?, fee = ? WHERE id = ?", (outcome, fee, id_))
                self._emit(Fact(outcome, payment, payment, currency, gross, fee))
                continue
            self.db.execute("UPDATE charge SET examined = 1 WHERE id = ?", (id_,))
            self._refund(rng.random(), id_, payment, currency, gross)
            self._dispute(rng.random(), id_, payment, currency, gross)
        for id_, payment, currency, gross in self.db.execute(
            "SELECT id, payment, currency, gross FROM dispute WHERE status = 'opened'"
        ).fetchall():
            if rng.random() < 0.5:
                status = rng.choice(("won", "lost"))
                self.db.execute("UPDATE dispute SET status = ? WHERE id = ?", (status, id_))
                self._emit(Fact(f"dispute {status}", id_, payment, currency, gross))
        self._arrive(rng)
        if rng.random() < 0.2:
            self.pay_out()
        self.db.execute("COMMIT")

    def _pay_late(self, rng: random.Random) -> None:
        """Half of the customers whose card declined every attempt pay by the mailed link, some after the invoice is void.

        Such a payment is not refunded or disputed here.
        """
        query = (
            "SELECT invoice, currency, gross FROM charge GROUP BY invoice "
            "HAVING count(DISTINCT payment) >= 3 AND min(status) = 'failed' AND max(status) = 'failed'"
        )
        for invoice, currency, gross in self.db.execute(query).fetchall():
            if chance(self.seed, "link", invoice) < 0.5 and rng.random() < 0.2:
                payment, fee = f"{invoice}-link", gross * 2 // 100
                columns = "(key, payment, invoice, currency, gross, fee, status, examined)"
                values = (payment, payment, invoice, currency, gross, fee)
                self.db.execute(f"INSERT INTO charge {columns} VALUES (?, ?, ?, ?, ?, ?, 'captured', 1)", values)
                self._emit(Fact("captured", payment, payment, currency, gross, fee))

    def _refund(self, luck: float, charge: int, payment: str, currency: str, gross: int) -> None:
        """All at once, a half, or two halves."""
        parts = [gross] if luck < 0.05 else [gross // 2] if luck < 0.08 else [gross // 2] * 2 if luck < 0.12 else []
        for n, part in enumerate(parts, 1):
            self.db.execute("INSERT INTO refund VALUES (?, ?, ?, ?)", (f"re-{charge}-{n}", payment, currency, part))
            self._emit(Fact("refunded", f"re-{charge}-{n}", payment, currency, part))

    def _dispute(self, luck: float, charge: int, payment: str, currency: str, gross: int) -> None:
        """A payment that was refunded may be disputed as well."""
        if luck < 0.12:
            row = (f"dp-{charge}", payment, currency, gross, "opened")
            self.db.execute("INSERT INTO dispute VALUES (?, ?, ?, ?, ?)", row)
            self._emit(Fact("dispute withdrawn", f"dp-{charge}", payment, currency, gross))

    def pay_out(self) -> None:
        for currency in CURRENCIES:
            balance = self.balance(currency)
            if balance <= 0:
                continue
            (count,) = self.db.execute("SELECT count(*) FROM payout").fetchone()
            id_ = f"po-{count + 1}"
            rate = 1.0 if currency == HOME else 0.88 + 0.06 * chance(self.seed, "rate", id_)
            sent = round(balance * rate)
            self.db.execute("INSERT INTO payout VALUES (?, ?, ?, ?, 'sent')", (id_, currency, balance, sent))
            self._emit(Fact("paid out", id_, "", currency, balance, sent=sent))

    def _arrive(self, rng: random.Random) -> None:
        """Payouts come onto the bank's statement, or are returned."""
        query = "SELECT id, currency, net, sent FROM payout WHERE status = 'sent' ORDER BY id"
        for id_, currency, net, sent in self.db.execute(query).fetchall():
            luck = rng.random()
            if luck < 0.12:
                self.db.execute("UPDATE payout SET status = 'returned' WHERE id = ?", (id_,))
                self._emit(Fact("payout returned", id_, "", currency, net, sent=sent))
            elif luck < 0.45:
                self.db.execute("UPDATE payout SET status = 'received' WHERE id = ?", (id_,))
                self.db.execute("INSERT INTO bank VALUES (?, ?)", (id_, sent))

    def balance(self, currency: str) -> int:
        """What the provider holds for us."""
        total = 0
        for query in (
            "SELECT sum(gross - fee) FROM charge WHERE status = 'captured' AND currency = ?",
            "SELECT -sum(gross) FROM refund WHERE currency = ?",
            f"SELECT -sum(gross + {DISPUTE_FEE}) FROM dispute WHERE currency = ?",
            "SELECT sum(gross) FROM dispute WHERE status = 'won' AND currency = ?",
            "SELECT -sum(net) FROM payout WHERE status <> 'returned' AND currency = ?",
        ):
            total += self.db.execute(query, (currency,)).fetchone()[0] or 0
        return total

    def report(self) -> list[Fact]:
        """The provider's own file of everything that happened, in an order in which it can be booked."""
        read = self.db.execute
        facts = [
            Fact(status, payment, payment, currency, gross, fee)
            for payment, currency, gross, fee, status in read(
                "SELECT payment, currency, gross, fee, status FROM charge"
            )
            if status != "action"
        ]
        facts += [
            Fact("refunded", id_, payment, currency, gross)
            for id_, payment, currency, gross in read("SELECT id, payment, currency, gross FROM refund")
        ]
        for id_, payment, currency, gross, status in read("SELECT id, payment, currency, gross, status FROM dispute"):
            facts.append(Fact("dispute withdrawn", id_, payment, currency, gross))
            if status != "opened":
                facts.append(Fact(f"dispute {status}", id_, payment, currency, gross))
        for id_, currency, net, sent, status in read("SELECT id, currency, net, sent, status FROM payout"):
            facts.append(Fact("paid out", id_, "", currency, net, sent=sent))
            if status == "returned":
                facts.append(Fact("payout returned", id_, "", currency, net, sent=sent))
        return facts

    def statement(self) -> list[Fact]:
        """The bank's file of what it received, with the payout as the reference."""
        rows = self.db.execute("SELECT id, cents FROM bank")
        return [Fact("received", id_, "", HOME, cents, sent=cents) for id_, cents in rows]

    def lost(self) -> set[tuple[str, str]]:
        return set(self.db.execute("SELECT kind, object FROM event WHERE lost"))

    def deliver(self, rng: random.Random) -> tuple[int, Fact] | None:
        """A webhook that is not acknowledged, or one in five times any; in no order. None if all are acknowledged."""
        self.give_up()
        repeat = rng.random() < 0.2
        query = "SELECT id FROM event WHERE lost = 0 AND given_up = 0 AND (acknowledged = 0 OR ?) ORDER BY id"
        ids = [row[0] for row in self.db.execute(query, (repeat,))]
        if not ids:
            return None
        id_ = rng.choice(ids)
        self.db.execute("UPDATE event SET deliveries = deliveries + 1 WHERE id = ?", (id_,))
        query = "SELECT kind, object, payment, currency, gross, fee, sent FROM event WHERE id = ?"
        return id_, Fact(*self.db.execute(query, (id_,)).fetchone())

    def acknowledge(self, id_: int) -> None:
        self.db.execute("UPDATE event SET acknowledged = 1 WHERE id = ?", (id_,))

    def give_up(self) -> None:
        """A webhook that is refused again and again is not sent any more."""
        self.db.execute("UPDATE event SET given_up = 1 WHERE acknowledged = 0 AND deliveries >= 8")

    def outstanding(self) -> int:
        (count,) = self.db.execute(f"SELECT count(*) FROM event WHERE {UNHEARD}").fetchone()
        (action,) = self.db.execute(
            "SELECT count(*) FROM charge WHERE status = 'action' OR examined = 0 AND status = 'captured'"
        ).fetchone()
        (open_,) = self.db.execute("SELECT count(*) FROM dispute WHERE status = 'opened'").fetchone()
        return int(count + action + open_)
