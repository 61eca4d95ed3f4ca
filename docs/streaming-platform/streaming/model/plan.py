"""The stages of the decision memo: who builds and runs each, for how long, and what an account costs then."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .compute import Result, run
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


STAGES = (
    Stage("100,000", SCENARIOS["small"], 2, 14),
    Stage("1 million", MILLION, 4, 30),
    Stage("10 million", SCENARIOS["medium"], 8, 64),
    Stage("250 million", SCENARIOS["large"], 18, 180),
)
FIRST_MONTHS = 9  # from the decision to the first paying subscriber


def first_release_eur() -> float:
    """People only, until the first subscriber pays."""
    first = STAGES[0]
    return first.people * first.inputs.person_eur * FIRST_MONTHS
