"""Everything the paper quotes, computed once: model results, sensitivities, simulations, objectives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..model.calibration import Check, ceiling, checks
from ..model.compute import Result, run
from ..model.inputs import SCENARIOS
from ..model.sensitivity import Crossover, Swing, delivery_curve, spread, swings
from ..sim import experiments, fanout, ledger
from ..sim.verdict import Verdict
from .slo import Slo, load

SIMULATIONS = {"ledger": ledger, "experiments": experiments, "fanout": fanout}
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
        """Every simulation in every variant."""
        return {(name, v): sim.simulate(v) for name, sim in SIMULATIONS.items() for v in sim.VARIANTS}

    @cached_property
    def slos(self) -> list[Slo]:
        return load(self.folder)
