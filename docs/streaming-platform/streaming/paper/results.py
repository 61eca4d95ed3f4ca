"""Everything the paper quotes, computed once: model results, sensitivities, simulations, objectives."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..model.calibration import Check, ceiling, checks
from ..model.compute import Result, run
from ..model.inputs import SCENARIOS
from ..model.plan import STAGES, first_cost
from ..model.sensitivity import Crossover, Swing, delivery_curve, spread, swings
from ..sim import experiments, fanout, ledger
from ..sim.verdict import Verdict
from .slo import Slo, Threshold, load, load_thresholds

SIMULATIONS = {"ledger": ledger, "experiments": experiments, "fanout": fanout}
SEEDED = [("ledger", variant, seed) for variant in ledger.VARIANTS for seed in ledger.SEEDS]  # judged at each seed
CURVE_POINTS = [10 ** (5 + n / 20) for n in range(70)]


@dataclass
class Results:
    folder: Path

    @cached_property
    def scenarios(self) -> dict[str, Result]:
        return {name: run(inputs) for name, inputs in SCENARIOS.items()}

    @cached_property
    def swings(self) -> dict[str, list[Swing]]:
        return {name: swings(inputs) for name, inputs in SCENARIOS.items()}

    @cached_property
    def spreads(self) -> dict[str, list[float]]:
        return {name: spread(inputs) for name, inputs in SCENARIOS.items()}

    @cached_property
    def first_spread(self) -> list[float]:
        """The same draws with the first release's own bill."""
        return spread(STAGES[0].inputs, cost=first_cost)

    @cached_property
    def curves(self) -> dict[float, list[Crossover]]:
        """Delivery cost over subscribers, by factor on the contract price."""
        return {price: delivery_curve(SCENARIOS["medium"], CURVE_POINTS, price) for price in (0.5, 1.0, 2.0)}

    @cached_property
    def checks(self) -> list[Check]:
        return checks()

    @cached_property
    def ceiling(self) -> Check:
        return ceiling()

    @cached_property
    def verdicts(self) -> dict[tuple[str, str], Verdict]:
        """Every simulation in every variant, at its first seed."""
        return {(name, variant): found[0] for (name, variant), found in self.seeds.items()}

    @cached_property
    def seeds(self) -> dict[tuple[str, str], list[Verdict]]:
        """Every simulation in every variant, at each seed at which it is judged."""
        single: list[tuple[str, str, int | None]] = [
            (name, v, None) for name, sim in SIMULATIONS.items() if sim is not ledger for v in sim.VARIANTS
        ]
        jobs = [*SEEDED, *single]
        out: dict[tuple[str, str], list[Verdict]] = {}
        with ProcessPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for (name, variant, _), verdict in zip(jobs, pool.map(_run, jobs)):
                out.setdefault((name, variant), []).append(verdict)
        return out

    def sometimes(self, name: str, variant: str) -> set[str]:
        """The claims that a variant may fail at some seeds and must not fail at all of them."""
        return set(ledger.SOMETIMES.get(variant, ())) if name == "ledger" else set()

    def always_broken(self, name: str, variant: str) -> set[str]:
        """The claims that fail at every seed."""
        return set.intersection(*(verdict.broken() for verdict in self.seeds[name, variant]))

    def ever_broken(self, name: str, variant: str) -> set[str]:
        """The claims that fail at one seed at least."""
        return set.union(*(verdict.broken() for verdict in self.seeds[name, variant]))

    @cached_property
    def slos(self) -> list[Slo]:
        return load(self.folder)

    @cached_property
    def thresholds(self) -> list[Threshold]:
        return load_thresholds(self.folder)


def _run(job: tuple[str, str, int | None]) -> Verdict:
    name, variant, seed = job
    simulate = SIMULATIONS[name].simulate
    return simulate(variant) if seed is None else simulate(variant, seed=seed)
