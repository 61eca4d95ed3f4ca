"""The stages of the decision memo: who builds and runs each, for how long, and what an account costs then."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .compute import DAYS, Result, run
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

    @property
    def result(self) -> Result:
        return run(self.inputs)

    @property
    def people_eur(self) -> float:
        """Per account and month."""
        return self.people * self.inputs.person_eur / self.inputs.subscribers

    @property
    def payments_eur(self) -> float:
        return self.result.bill.payments / self.inputs.subscribers

    @property
    def support_eur(self) -> float:
        return self.result.bill.support / self.inputs.subscribers

    @property
    def total_eur(self) -> float:
        return self.result.per_subscriber + self.people_eur + self.payments_eur + self.support_eur

    @property
    def total_per_hour(self) -> float:
        """Everything, per hour watched."""
        return self.total_eur / (self.inputs.hours_per_day * DAYS)


STAGES = (
    Stage("100,000", SCENARIOS["small"], 2, 14),
    Stage("1 million", MILLION, 4, 30),
    Stage("10 million", SCENARIOS["medium"], 8, 64),
    Stage("250 million", SCENARIOS["large"], 18, 180),
)
TRIGGERS = (60_000, 600_000)  # subscribers at which the second and the third stage are begun
FIRST_MONTHS = 9  # from the decision to the sale
REVIEW_MONTHS = 6  # from the sale to the review
OTHERS = (
    4  # people of the first release who are not engineers: product, design, support, legal and finance (assumption)
)
BUILD_INFRA = 0.25  # of the running infrastructure while the first release is built (assumption)
REVIEW_SUBSCRIBERS = 30_000  # expected at the review (assumption)


def while_building(built: int) -> float:
    """Engineers per account and month when a stage is begun: its engineers, paid by the subscribers of its trigger."""
    stage = STAGES[built]
    return stage.people * stage.inputs.person_eur / TRIGGERS[built - 1]


@dataclass(frozen=True)
class Approval:
    """What the first release costs, in euros, beside films, marketing, tax, and what grows with subscribers."""

    until_sale: dict[str, float]
    until_review: dict[str, float]  # from the sale on

    @property
    def total(self) -> float:
        return sum(self.until_sale.values()) + sum(self.until_review.values())

    @property
    def month_of_delay(self) -> float:
        """A month more of building: people and test infrastructure."""
        return (sum(self.until_sale.values()) - self.until_sale[ENCODING]) / FIRST_MONTHS


ENCODING = "first encoding of the catalogue"


def approval() -> Approval:
    first = STAGES[0]
    person, running = first.inputs.person_eur, first.result.bill.infrastructure
    encoding = first.inputs.catalogue_hours * first.result.media.core_hours_per_hour * first.inputs.spot_core_hour_eur

    def months(number: int, share: float) -> dict[str, float]:
        return {
            "engineers": number * first.people * person,
            "other people": number * OTHERS * person,
            "infrastructure": number * share * running,
        }

    return Approval(
        months(FIRST_MONTHS, BUILD_INFRA) | {ENCODING: encoding}, months(REVIEW_MONTHS, 1.0) | {ENCODING: 0.0}
    )
