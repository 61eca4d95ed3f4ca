"""The chart of accounts and what each business fact does to it: double entry in minor units, per currency.

A debit is positive, a credit negative, and the lines of a posting add up to zero in each currency.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

HOME = "EUR"
BOOKING_RATE = {"EUR": 1.0, "USD": 0.92}  # euros by which the ledger converts
TAX_PERCENT = 20  # included in the price
DISPUTE_FEE = 1_500


@dataclass(frozen=True)
class Book:
    number: int
    name: str
    kind: str
    holds: str


CHART = (
    Book(1000, "bank", "asset", "payouts received; other movements of the account are in the company's general ledger"),
    Book(1050, "in transit", "asset", "paid out by the provider, not yet on the bank's statement"),
    Book(1100, "clearing", "asset", "captured less fees, not yet paid out; equals the balance at the payment provider"),
    Book(1200, "receivable", "asset", "invoiced and not yet captured"),
    Book(1300, "disputed", "asset", "withdrawn by an open chargeback"),
    Book(1900, "fx clearing", "asset", "both sides of a conversion, at the booking rate"),
    Book(2100, "tax", "liability", "sales tax or VAT owed, by country and rate"),
    Book(
        2200,
        "deferred revenue",
        "liability",
        "invoiced for days that are not over, or that wait for a payment or a dispute",
    ),
    Book(2300, "accrued fees", "liability", "fees of captured payments that the provider invoices later"),
    Book(2400, "unapplied payments", "liability", "owed to the customer: captured, invoice not open; refund failed"),
    Book(4000, "revenue", "income", "recognised: the days are over"),
    Book(4900, "refunds", "income, reducing", "given back after recognition"),
    Book(5100, "fees", "expense", "the provider's fees, those of chargebacks included"),
    Book(
        5200,
        "chargebacks",
        "expense",
        "lost disputes, without tax and without what was still deferred; what was given back twice; "
        "tax of unpaid invoices without relief",
    ),
    Book(5900, "fx difference", "expense", "booking rate against the rate of the payout"),
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


def captured(currency: str, gross: int, fee: int) -> list[Line]:
    """The provider adds a payment to its balance less the fee that its balance transaction states."""
    return [("clearing", currency, gross - fee), ("fees", currency, fee), ("receivable", currency, -gross)]


def unapplied(currency: str, gross: int, fee: int) -> list[Line]:
    """A payment for an invoice that is not open is owed to the customer."""
    return [("clearing", currency, gross - fee), ("fees", currency, fee), ("unapplied payments", currency, -gross)]


def unapplied_refunded(currency: str, gross: int) -> list[Line]:
    return [("unapplied payments", currency, gross), ("clearing", currency, -gross)]


def refund_failed(currency: str, gross: int) -> list[Line]:
    """A refund that was posted comes back: the credit note stands, so the amount is owed to the customer."""
    return [("clearing", currency, gross), ("unapplied payments", currency, -gross)]


def fees_accrued(currency: str, fee: int) -> list[Line]:
    return [("fees", currency, fee), ("accrued fees", currency, -fee)]


def fees_invoiced(currency: str, fee: int) -> list[Line]:
    """The provider takes fees of an earlier month from its balance."""
    return [("accrued fees", currency, fee), ("clearing", currency, -fee)]


def recognised(currency: str, net: int) -> list[Line]:
    return [("deferred revenue", currency, net), ("revenue", currency, -net)]


@dataclass(frozen=True)
class Return:
    """What giving back an amount of an invoice takes from deferred revenue and tax; the rest was earned already.

    `returned` was given back before. Over all returns the tax is that of the sum and never more than the invoice's.
    """

    amount: int
    invoice: int
    deferred: int
    returned: int = 0

    @property
    def tax(self) -> int:
        before, after = (min(cents, self.invoice) for cents in (self.returned, self.returned + self.amount))
        return Price(after).tax - Price(before).tax

    @property
    def excess(self) -> int:
        """What exceeds the invoice because it was given back twice: a loss, neither revenue nor tax."""
        return min(self.amount, max(0, self.returned + self.amount - self.invoice))

    @property
    def unearned(self) -> int:
        return min(self.deferred, self.amount - self.excess - self.tax)

    @property
    def rest(self) -> int:
        return self.amount - self.excess - self.tax - self.unearned


def refunded(currency: str, back: Return) -> list[Line]:
    """Takes back what is still deferred first; the rest reduces revenue. What exceeds the invoice is a chargeback."""
    return [
        ("deferred revenue", currency, back.unearned),
        ("refunds", currency, back.rest),
        ("chargebacks", currency, back.excess),
        ("tax", currency, back.tax),
        ("clearing", currency, -back.amount),
    ]


def credited(currency: str, back: Return) -> list[Line]:
    """The unused days at an upgrade; those that were recognised while its payment was open are revenue no more."""
    return [
        ("deferred revenue", currency, back.unearned),
        ("revenue", currency, back.rest),
        ("chargebacks", currency, back.excess),
        ("tax", currency, back.tax),
        ("receivable", currency, -back.amount),
    ]


def dispute_withdrawn(currency: str, gross: int) -> list[Line]:
    return [
        ("disputed", currency, gross),
        ("fees", currency, DISPUTE_FEE),
        ("clearing", currency, -gross - DISPUTE_FEE),
    ]


def dispute_won(currency: str, gross: int) -> list[Line]:
    return [("clearing", currency, gross), ("disputed", currency, -gross)]


def dispute_lost(currency: str, back: Return) -> list[Line]:
    """Takes back what is still deferred first; the rest is a chargeback."""
    return [
        ("deferred revenue", currency, back.unearned),
        ("chargebacks", currency, back.rest + back.excess),
        ("tax", currency, back.tax),
        ("disputed", currency, -back.amount),
    ]


def paid_out(currency: str, net: int, sent: int) -> list[Line]:
    """The provider pays its balance out: `sent` is what it sends to the bank, converted to the bank's currency."""
    if currency == HOME:
        return [("in transit", HOME, sent), ("clearing", HOME, -net)]
    booked = round(net * BOOKING_RATE[currency])
    return [
        ("clearing", currency, -net),
        ("fx clearing", currency, net),
        ("fx clearing", HOME, -booked),
        ("in transit", HOME, sent),
        ("fx difference", HOME, booked - sent),
    ]


def payout_returned(currency: str, net: int, sent: int) -> list[Line]:
    """The bank refused the payout; the provider has the balance again."""
    return [(book, c, -cents) for book, c, cents in paid_out(currency, net, sent)]


def received(sent: int) -> list[Line]:
    """The payout is on the bank's statement."""
    return [("bank", HOME, sent), ("in transit", HOME, -sent)]


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
