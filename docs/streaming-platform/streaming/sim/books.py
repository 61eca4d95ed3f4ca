"""The chart of accounts and what each business fact does to it: double entry in minor units, per currency.

A debit is positive, a credit negative, and the lines of a posting add up to zero in each currency.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

HOME = "EUR"
BOOKING_RATE = {"EUR": 1.0, "USD": 0.92}  # euros by which the ledger converts
PROVIDER_RATE = {"EUR": 1.0, "USD": 0.90}  # euros that the provider pays
TAX_PERCENT = 20  # included in the price
DISPUTE_FEE = 1_500


@dataclass(frozen=True)
class Book:
    number: int
    name: str
    kind: str
    holds: str


CHART = (
    Book(1000, "bank", "asset", "money received; equals the bank's statement"),
    Book(1100, "clearing", "asset", "captured and not yet paid out; equals the balance at the payment provider"),
    Book(1200, "receivable", "asset", "invoiced and not yet captured"),
    Book(1300, "disputed", "asset", "withdrawn by an open chargeback"),
    Book(1900, "fx clearing", "asset", "both sides of a conversion, at the booking rate"),
    Book(2100, "tax", "liability", "sales tax or VAT owed, by country and rate"),
    Book(2200, "deferred revenue", "liability", "invoiced for days that are not over"),
    Book(4000, "revenue", "income", "recognised: the days are over"),
    Book(4900, "refunds", "income, reducing", "given back after recognition"),
    Book(5100, "fees", "expense", "the provider's fees, those of chargebacks included"),
    Book(5200, "chargebacks", "expense", "lost disputes, without tax"),
    Book(5900, "fx difference", "expense", "booking rate against the rate that was paid"),
)
BOOKS = {book.name for book in CHART}
Line = tuple[str, str, int]  # book, currency, amount


@dataclass(frozen=True)
class Price:
    """A tax-inclusive price: net is what is earned."""

    gross: int

    @property
    def tax(self) -> int:
        return self.gross - self.net

    @property
    def net(self) -> int:
        return round(self.gross * 100 / (100 + TAX_PERCENT))


def invoiced(currency: str, gross: int) -> list[Line]:
    p = Price(gross)
    return [("receivable", currency, gross), ("deferred revenue", currency, -p.net), ("tax", currency, -p.tax)]


def voided(currency: str, gross: int) -> list[Line]:
    return [(book, currency, -cents) for book, _, cents in invoiced(currency, gross)]


def captured(currency: str, gross: int) -> list[Line]:
    return [("clearing", currency, gross), ("receivable", currency, -gross)]


def recognised(currency: str, net: int) -> list[Line]:
    return [("deferred revenue", currency, net), ("revenue", currency, -net)]


def refunded(currency: str, gross: int, deferred: int) -> list[Line]:
    """Takes back what is still deferred first; the rest reduces revenue."""
    p = Price(gross)
    unearned = min(deferred, p.net)
    return [
        ("deferred revenue", currency, unearned),
        ("refunds", currency, p.net - unearned),
        ("tax", currency, p.tax),
        ("clearing", currency, -gross),
    ]


def dispute_opened(currency: str, gross: int) -> list[Line]:
    return [
        ("disputed", currency, gross),
        ("fees", currency, DISPUTE_FEE),
        ("clearing", currency, -gross - DISPUTE_FEE),
    ]


def dispute_won(currency: str, gross: int) -> list[Line]:
    return [("clearing", currency, gross), ("disputed", currency, -gross)]


def dispute_lost(currency: str, gross: int) -> list[Line]:
    p = Price(gross)
    return [("chargebacks", currency, p.net), ("tax", currency, p.tax), ("disputed", currency, -gross)]


def paid_out(currency: str, net: int, fee: int) -> list[Line]:
    """The provider pays its balance out, less its fees; a foreign currency arrives converted."""
    lines = [("clearing", currency, -net - fee), ("fees", currency, fee)]
    if currency == HOME:
        return [*lines, ("bank", HOME, net)]
    booked, received = round(net * BOOKING_RATE[currency]), round(net * PROVIDER_RATE[currency])
    return [
        *lines,
        ("fx clearing", currency, net),
        ("fx clearing", HOME, -booked),
        ("bank", HOME, received),
        ("fx difference", HOME, booked - received),
    ]


def totals(lines: Iterable[Line]) -> dict[tuple[str, str], int]:
    """The balance of each book and currency; books without one are left out."""
    out: dict[tuple[str, str], int] = defaultdict(int)
    for book, currency, cents in lines:
        out[book, currency] += cents
    return {key: cents for key, cents in out.items() if cents}


def balanced(lines: Iterable[Line]) -> bool:
    sums: dict[str, int] = defaultdict(int)
    for _, currency, cents in lines:
        sums[currency] += cents
    return not any(sums.values())
