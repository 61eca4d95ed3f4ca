"""What the result depends on: each input over its plausible range, and all of them at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, log

from .compute import Result, run
from .inputs import Inputs, numeric_fields, with_factor

DRAWS = 500


@dataclass(frozen=True)
class Swing:
    name: str
    low: float  # euros per subscriber at the low end of the input's range
    high: float
    elasticity: float  # percent of cost per percent of input

    @property
    def width(self) -> float:
        return abs(self.high - self.low)


def swings(base: Inputs) -> list[Swing]:
    """Every input's effect on the infrastructure cost per subscriber, largest first."""
    out = [_swing(base, f.name, *f.metadata["range"]) for f in numeric_fields()]
    return sorted((s for s in out if s.width > 0), key=lambda s: -s.width)


def _swing(base: Inputs, name: str, low: float, high: float) -> Swing:
    def cost(factor: float) -> float:
        return run(with_factor(base, name, factor)).per_subscriber

    elasticity = log(cost(1.1) / cost(1 / 1.1)) / log(1.21)
    return Swing(name, cost(low), cost(high), elasticity)


def model_cost(inputs: Inputs) -> float:
    """The complete platform's infrastructure per subscriber."""
    return run(inputs).per_subscriber


def spread(
    base: Inputs, draws: int = DRAWS, seed: int = 7, cost: Callable[[Inputs], float] = model_cost
) -> list[float]:
    """Sorted costs per subscriber with every input drawn from its range (triangular in the logarithm, mode 1)."""
    rng = random.Random(seed)
    out = []
    for _ in range(draws):
        factors = {
            f.name: getattr(base, f.name)
            * exp(rng.triangular(log(f.metadata["range"][0]), log(f.metadata["range"][1]), 0))
            for f in numeric_fields()
        }
        out.append(cost(replace(base, **factors)))
    return sorted(out)


def percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True)
class Crossover:
    subscribers: float
    shared: float  # euros per subscriber for delivery alone
    own: float


def delivery_curve(base: Inputs, points: list[float], price: float = 1.0) -> list[Crossover]:
    """Delivery cost per subscriber bought and built; the own edge has a site per 50,000 subscribers, 20 at least.

    The contract price falls with volume between the prices of the small and the medium scenario (a straight line in
    logarithms) and stays there; `price` is a factor on it. The own edge includes its team.
    """
    out = []
    for n in points:
        sites = max(20.0, n / 50_000)
        shared = run(replace(base, subscribers=n, own_edge=False, cdn_usd_per_gb=contract_price(n) * price))
        own = run(replace(base, subscribers=n, own_edge=True, edge_sites=sites))
        out.append(Crossover(n, _delivery(shared), _delivery(own)))
    return out


def contract_price(subscribers: float) -> float:
    """USD per GB of a shared CDN: 0.007 at 100,000 subscribers, 0.002 from 10 million on."""
    share = min(1.0, max(0.0, (log(subscribers) - log(1e5)) / (log(1e7) - log(1e5))))
    return exp(log(0.007) + share * (log(0.002) - log(0.007)))


def break_even(curve: list[Crossover]) -> float:
    """The first number of subscribers at which the own edge is cheaper; infinity if there is none."""
    return next((c.subscribers for c in curve if c.own < c.shared), float("inf"))


def break_even_range(base: Inputs, points: list[float]) -> tuple[float, float, float]:
    """Break-even with the smallest, the assumed and the largest team of the input's range."""
    low, high = next(f.metadata["range"] for f in numeric_fields() if f.name == "edge_team_people")
    teams = (with_factor(base, "edge_team_people", factor) for factor in (low, 1.0, high))
    first, middle, last = (break_even(delivery_curve(team, points)) for team in teams)
    return first, middle, last


def _delivery(result: Result) -> float:
    return result.bill.delivery / result.inputs.subscribers
