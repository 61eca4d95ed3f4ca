"""The stages of the decision memo: who builds and runs each, for how long, and what an account costs then."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from .compute import CORES_PER_MACHINE, DAYS, Result, payment_eur, run
from .inputs import SCENARIOS, Inputs
from .sensitivity import contract_price

MILLION = replace(
    SCENARIOS["small"],
    subscribers=1e6,
    hours_per_day=1.2,
    catalogue_hours=10_000,
    new_hours_per_month=200,
    cdn_pops=20,
    cdn_usd_per_gb=contract_price(1e6),
    licence_eur=0.001,
    training_gpu_hours=300,
)


@dataclass(frozen=True)
class Stage:
    name: str
    inputs: Inputs
    teams: int
    people: int  # without those who run an own edge, who are in the bill
    first: bool = False  # the first release, whose bill has lines of its own

    @property
    def result(self) -> Result:
        return run(self.inputs)

    @property
    def people_eur(self) -> float:
        """Per account and month."""
        return self.people * self.inputs.person_eur / self.inputs.subscribers

    @property
    def infrastructure(self) -> float:
        """A month, in euros."""
        return sum(first_bill(self.inputs).values()) if self.first else self.result.bill.infrastructure

    @property
    def infrastructure_eur(self) -> float:
        return self.infrastructure / self.inputs.subscribers

    @property
    def payments_eur(self) -> float:
        if self.first:  # sold on the web only
            return payment_eur(replace(self.inputs, app_shop_share=0.0))
        return self.result.bill.payments / self.inputs.subscribers

    def at(self, **changes: float) -> Stage:
        """The same stage with other inputs."""
        return replace(self, inputs=replace(self.inputs, **changes))

    @property
    def support_eur(self) -> float:
        return self.result.bill.support / self.inputs.subscribers

    @property
    def total_eur(self) -> float:
        return self.infrastructure_eur + self.people_eur + self.payments_eur + self.support_eur

    @property
    def total_per_hour(self) -> float:
        """Everything, per hour watched."""
        return self.total_eur / (self.inputs.hours_per_day * DAYS)


TELEMETRY_EUR_GB = 0.5  # a monitoring vendor's price for logs and traces, with 30 days of search (assumption)
STANDBY_SHARE, STANDBY_USD_GB = (
    0.01,
    0.085,
)  # of plays that the second CDN always serves, at its highest list price (S23)
DISPUTE_EUR = 15.0  # a provider's fee for a dispute (assumption)
VAULT_EUR = 300.0  # a managed key vault (assumption)
SECURITY_EUR = 5_000.0  # two penetration tests and a bounty a year, by month (assumption)
ON_CALL_EUR = 600.0  # a person and week of duty (assumption)
ON_CALL_PEOPLE = 2
VENDOR_FACTOR = 3  # what a vendor asks for encoding over our own cost (assumption)
WITNESS = "witness, a machine in a third region"


def first_bill(i: Inputs) -> dict[str, float]:
    """The first release's month in euros: the model's bill, less what is not built, and what is bought instead."""
    r = run(i)
    brokers = r.plant.log_brokers * i.broker_eur
    telemetry_gb = (r.control.event_mb_s - r.control.client_events_s * i.event_bytes / 1e6) / r.audience.peak_ratio
    telemetry_gb *= DAYS * 86_400 / 1_000
    return {
        "the model's infrastructure at this size": r.bill.infrastructure,
        "not built: push, log and search machines, with their overhead": -(r.bill.push + brokers + r.bill.search)
        * (1 + i.overhead),
        "encoding by a vendor instead of our own cost": (VENDOR_FACTOR - 1) * r.bill.transcoding,
        "monitoring by a vendor": telemetry_gb * TELEMETRY_EUR_GB,
        "second CDN": r.delivery.egress_pb * 1e6 * STANDBY_SHARE * STANDBY_USD_GB * i.usd_eur,
        WITNESS: CORES_PER_MACHINE * i.core_eur * (1 + i.overhead),
        "key vault": VAULT_EUR,
        "security tests": SECURITY_EUR,
        "on-call allowances": ON_CALL_PEOPLE * ON_CALL_EUR * 52 / 12,
    }


DISPUTES_LOST = 0.002  # of payments (assumption)


def dispute_eur(i: Inputs) -> float:
    """What disputes that are lost would add per account and month: the price and the provider's fee."""
    return DISPUTES_LOST * (i.price_eur + DISPUTE_EUR)


def first_cost(i: Inputs) -> float:
    """The first release's infrastructure per account and month."""
    return sum(first_bill(i).values()) / i.subscribers


def not_scaled(i: Inputs) -> float:
    """What a month of the first release's services would add, in euros, to a size that is billed by the model alone.

    The model's log is taken off, because the first release has none.
    """
    lines = first_bill(i)
    bought = ("monitoring by a vendor", "security tests", "on-call allowances", "key vault", WITNESS)
    return sum(lines[name] for name in bought) - run(i).plant.log_brokers * i.broker_eur * (1 + i.overhead)


@dataclass(frozen=True)
class Item:
    """A piece of the first release, in person-months for each phase; all are the authors' judgement."""

    team: str
    what: str
    months: tuple[int, int, int]


PHASES = (3, 3, 3)  # months to the closed test, then to the paid beta, then to the sale
TEAMS = {"viewing": 8, "money": 6}  # engineers
HIRING_MONTHS = 4  # from the first engineer to the last, if none is employed at the decision (assumption)
RESERVE = "leave, hiring and what was not foreseen"
WORK = (
    Item("viewing", "gateway, tokens, limits, shedding", (3, 1, 1)),
    Item("viewing", "playback, steering, interface to the bought DRM", (4, 2, 2)),
    Item("viewing", "catalogue and ingest on bought encoding", (3, 2, 1)),
    Item("viewing", "library, home, search, nightly rows, vendors' push", (3, 4, 3)),
    Item("viewing", "clients: web and phones", (5, 4, 3)),
    Item("viewing", "clients: three television platforms", (2, 4, 6)),
    Item("viewing", "experiments", (0, 2, 1)),
    Item("viewing", "load tests, quality of playback", (0, 1, 3)),
    Item("viewing", RESERVE, (4, 4, 4)),
    Item("money", "identity on a vendor, access, profiles", (3, 1, 1)),
    Item("money", "ledger, states, outbox, feed", (5, 3, 1)),
    Item("money", "charges, webhooks, dunning", (2, 4, 2)),
    Item("money", "refunds, chargebacks, reconciliation", (0, 4, 3)),
    Item("money", "privacy, consent, support console", (0, 1, 4)),
    Item("money", "two regions, witness, releases, backups", (4, 1, 2)),
    Item("money", "monitoring, on-call, drills", (1, 1, 2)),
    Item("money", RESERVE, (3, 3, 3)),
)
MORE_WORK = 0.25  # what the work may be wrong by

STAGES = (
    Stage("100,000", SCENARIOS["small"], len(TEAMS), sum(TEAMS.values()), first=True),
    Stage("1 million", MILLION, 4, 30),
    Stage("10 million", SCENARIOS["medium"], 8, 64),
    Stage("250 million", SCENARIOS["large"], 18, 180),
)
TRIGGERS = (60_000, 600_000)  # subscribers at which the second and the third stage are begun
FIRST_MONTHS = sum(PHASES)  # from the decision to the sale
REVIEW_MONTHS = 6  # from the sale to the review
OTHERS = (
    4  # people of the first release who are not engineers: product, design, support, legal and finance (assumption)
)
BUILD_INFRA = 0.25  # of the running infrastructure while the first release is built (assumption)
REVIEW_SUBSCRIBERS = 30_000  # expected at the review (assumption)
REVIEW_FLOOR = 15_000  # at the review; below it no further money is given (design)
GROWN_MONTHS = 24  # from the sale to the subscribers of the first stage (assumption)
RENT_PEOPLE = 6  # engineers who are still needed if a complete platform is rented (assumption)
RENT_MONTHS = 4  # from the decision to the sale of a rented platform (assumption)
QUOTE_PEOPLE, QUOTE_WEEKS = 2, 6  # who asks for quotes before the teams begin, and for how long (assumption)
TAX = 0.20  # on the price before tax (assumption)
CARRIED = 200_000  # subscribers to which the first release is load-tested (design)
LEAD_MONTHS = 12  # what the second stage takes, and three months in reserve (assumption)
PERSON_LIMIT = 1.1  # times a person's cost, up to which the first gate takes the sum as approved (design)
NOTICE_MONTHS = 3  # of an engineer's contract (assumption)
TEST_HOMES = 200  # in the closed test (design)
RENT_HORIZONS = (REVIEW_MONTHS, GROWN_MONTHS, 60)  # months of sale over which renting and building are compared


def while_building(built: int) -> float:
    """Engineers per account and month when a stage is begun: its engineers, paid by the subscribers of its trigger."""
    stage = STAGES[built]
    return stage.people * stage.inputs.person_eur / TRIGGERS[built - 1]


@dataclass(frozen=True)
class Rent:
    """What a complete platform may cost an account and month before our own is cheaper."""

    subscribers: float
    people_eur: float
    infrastructure_eur: float
    rent_people_eur: float

    @property
    def own_eur(self) -> float:
        return self.people_eur + self.infrastructure_eur

    @property
    def limit_eur(self) -> float:
        return self.own_eur - self.rent_people_eur


def rents() -> list[Rent]:
    """At the review, at the first stage and at the second."""
    first, second = STAGES[:2]
    out = []
    sizes = ((first, REVIEW_SUBSCRIBERS), (first, first.inputs.subscribers), (second, second.inputs.subscribers))
    for stage, subscribers in sizes:
        person = stage.inputs.person_eur / subscribers
        infrastructure = stage.at(subscribers=float(subscribers)).infrastructure_eur
        out.append(Rent(subscribers, stage.people * person, infrastructure, RENT_PEOPLE * person))
    return out


def subscribers_after(months: float) -> float:
    """Subscribers so many months after the sale: straight lines to the review and to the first stage, then constant."""
    points = ((0.0, 0.0), (REVIEW_MONTHS, REVIEW_SUBSCRIBERS), (GROWN_MONTHS, STAGES[0].inputs.subscribers))
    for (start, low), (end, high) in pairwise(points):
        if months <= end:
            return low + (high - low) * (months - start) / (end - start)
    return STAGES[0].inputs.subscribers


@dataclass(frozen=True)
class RentOver:
    """Building against renting over the first months of sale, in euros: what is spent before the sale is included.

    Other people cost the same after the sale, and payments and support always, so they are left out.
    """

    months: int
    account_months: float
    until_sale: float
    until_gate: float  # the part of it that is spent when the quotes are compared
    engineers: float
    infrastructure: float
    rent_until_sale: float
    rent_engineers: float
    next_stage: float  # engineers added for the second stage, if it is begun at its trigger
    notice: float  # of the engineers whom a rented platform does not need, once the teams have begun

    @property
    def limit_eur(self) -> float:
        """The fee per account and month at which both cost the same, if nothing is spent yet."""
        own = self.until_sale + self.engineers + self.infrastructure
        return (own - self.rent_until_sale - self.rent_engineers) / self.account_months

    @property
    def limit_at_gate_eur(self) -> float:
        """The same when the first phase is paid for: what is spent counts for neither, and renting pays the notice."""
        return self.limit_eur - (self.until_gate + self.notice) / self.account_months

    @property
    def next_stage_eur(self) -> float:
        """What begins with the next stage adds to either limit, if a rented platform does without those engineers."""
        return self.next_stage / self.account_months


def rents_with_building(share: float = 1.0, cdn: float = 1.0) -> list[RentOver]:
    """For each horizon, with the engineers of the first release throughout.

    With this share of the planned subscribers, and the CDN's price so many times. What is spent before the sale is
    taken at the model's prices.
    """
    first, a = STAGES[0].at(cdn_usd_per_gb=cdn * STAGES[0].inputs.cdn_usd_per_gb), approval()
    person = first.inputs.person_eur
    out = []
    for months in RENT_HORIZONS:
        sizes = [share * subscribers_after(month + 0.5) for month in range(months)]
        infrastructure = (first.at(subscribers=size).infrastructure for size in sizes)
        out.append(
            RentOver(
                months,
                sum(sizes),
                sum(a.until_sale.values()),
                a.until_gate,
                months * first.people * person,
                sum(infrastructure),
                RENT_MONTHS * (RENT_PEOPLE + OTHERS) * person,
                months * RENT_PEOPLE * person,
                next_stage_eur(months),
                NOTICE_MONTHS * (first.people - RENT_PEOPLE) * person,
            )
        )
    return out


def notice_eur() -> float:
    """What everybody of the first release costs while under notice."""
    return NOTICE_MONTHS * (STAGES[0].people + OTHERS) * STAGES[0].inputs.person_eur


def next_stage_eur(months: int) -> float:
    """What the engineers who are added for the second stage cost in these months of sale, begun at its trigger."""
    added = STAGES[1].people - STAGES[0].people
    building = sum(subscribers_after(month + 0.5) >= TRIGGERS[0] for month in range(months))
    return added * building * STAGES[0].inputs.person_eur


def trigger_month() -> float:
    """The month of sale in which the plan's subscribers reach the number at which the second stage may begin."""
    return next(month for month in range(GROWN_MONTHS + 1) if subscribers_after(month) >= TRIGGERS[0])


def forecast() -> float:
    """The most that is forecast on the plan, within the lead of the second stage, by the growth of the last month."""
    growth = subscribers_after(GROWN_MONTHS) - subscribers_after(GROWN_MONTHS - 1)
    return subscribers_after(GROWN_MONTHS) + LEAD_MONTHS * growth


def margin(subscribers: float) -> float:
    """What an account and month leaves of the price after tax and all that the memo counts, with the first team."""
    first = STAGES[0].at(subscribers=subscribers)
    return net_price() - first.total_eur - OTHERS * first.inputs.person_eur / subscribers


def net_price() -> float:
    return STAGES[0].inputs.price_eur / (1 + TAX)


@dataclass(frozen=True)
class Cash:
    """The money of the first release by month of sale, films and marketing apart."""

    low: float  # euros
    low_month: int
    zero_month: int  # in which it is no longer negative
    grown: float  # after the months in which the first stage's subscribers come


def cash(share: float = 1.0) -> Cash:
    """With this share of the planned subscribers. Raises ValueError if what was spent never comes back."""
    if margin(share * STAGES[0].inputs.subscribers) <= 0:
        raise ValueError("the money never comes back")
    a = approval()
    left, path = -a.quotes - sum(a.until_sale.values()), []
    while left < 0 or len(path) < GROWN_MONTHS:
        subscribers = share * subscribers_after(len(path) + 0.5)
        left += subscribers * margin(subscribers)
        path.append(left)
    low = min(path)
    zero = next(month for month, value in enumerate(path) if value >= 0 and month > path.index(low))
    return Cash(low, path.index(low) + 1, zero + 1, path[GROWN_MONTHS - 1])


def margin_from() -> float:
    """The subscribers from which the margin is positive, to the next hundred."""
    return next(n for n in range(1_000, 200_000, 100) if margin(float(n)) >= 0)


def closed_test_infrastructure() -> float:
    """A month of infrastructure with the homes of the closed test alone: both regions with all copies, in euros."""
    return STAGES[0].at(subscribers=float(TEST_HOMES)).infrastructure


def hiring_months() -> float:
    """What hiring costs in months: while the team grows in a straight line, half of its work is missing."""
    return HIRING_MONTHS / 2


def hiring_eur() -> float:
    """What these months cost: other people and infrastructure; an engineer is paid from the first day."""
    a, first = approval(), STAGES[0]
    return hiring_months() * (a.month_of_delay - first.people * first.inputs.person_eur)


@dataclass(frozen=True)
class Approval:
    """What the first release costs, in euros, beside films, marketing, tax, and what grows with subscribers."""

    until_sale: dict[str, float]
    until_review: dict[str, float]  # from the sale on
    quotes: float  # asked for before the teams begin; spent whatever is decided

    @property
    def total(self) -> float:
        return self.quotes + sum(self.until_sale.values()) + sum(self.until_review.values())

    @property
    def month_of_delay(self) -> float:
        """A month more of building: people and test infrastructure."""
        return (sum(self.until_sale.values()) - self.until_sale[ENCODING]) / FIRST_MONTHS

    @property
    def until_gate(self) -> float:
        """What is spent until the closed test, where the sale is confirmed: the months, and the first encoding."""
        return PHASES[0] * self.month_of_delay + self.until_sale[ENCODING]

    @property
    def until_beta(self) -> float:
        return self.until_gate + PHASES[1] * self.month_of_delay

    @property
    def more_work(self) -> float:
        """What a quarter more work costs if the teams stay as they are: a quarter more months."""
        return MORE_WORK * FIRST_MONTHS * self.month_of_delay


ENCODING = "first encoding of the catalogue"


def approval(person_factor: float = 1.0, cdn: float = 1.0) -> Approval:
    """With a person's cost and the CDN's price so many times."""
    first = STAGES[0].at(cdn_usd_per_gb=cdn * STAGES[0].inputs.cdn_usd_per_gb)
    person, running = person_factor * first.inputs.person_eur, first.infrastructure
    core_hours = first.inputs.catalogue_hours * first.result.media.core_hours_per_hour
    encoding = VENDOR_FACTOR * core_hours * first.inputs.spot_core_hour_eur

    def months(number: int, share: float) -> dict[str, float]:
        return {
            "engineers": number * first.people * person,
            "other people": number * OTHERS * person,
            "infrastructure": number * share * running,
        }

    return Approval(
        months(FIRST_MONTHS, BUILD_INFRA) | {ENCODING: encoding},
        months(REVIEW_MONTHS, 1.0) | {ENCODING: 0.0},
        QUOTE_PEOPLE * person * QUOTE_WEEKS * 12 / 52,
    )
