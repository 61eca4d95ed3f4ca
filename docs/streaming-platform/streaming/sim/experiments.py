"""A/B tests: is the assignment stable and even, does the sample-ratio test find what it should, do experiments mix.

Assignment in the design: an account's bucket in an experiment is a hash of the experiment's salt and the account, and
an experiment owns a range of the buckets of its layer. Growing an experiment adds buckets and moves nobody.

The broken variants:
  modulo      the account number modulo the number of variants; account numbers are handed out by shard
  one-salt    every experiment hashes with the same salt
  reshuffle   the bucket is spread over the present size of the experiment, so growing it moves people
  lossy       the treatment's client loses one exposure in twenty (a crash before it reports)
  by-account  a social feature is assigned by account, though friends pass its effect on to each other
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from dataclasses import dataclass

from ..stats import chi_square_counts, chi_square_independence, normal_tail
from .verdict import Verdict

VARIANTS = {
    "design": "salted hash, ranges of buckets in layers, social features by cluster of friends",
    "modulo": "account number modulo variants",
    "one-salt": "one salt for all experiments",
    "reshuffle": "buckets spread over the present size",
    "lossy": "one treatment exposure in twenty is lost",
    "by-account": "a social feature is assigned by account, so friends have different variants",
}
STABLE = "assignment is stable"
EVEN = "the split is even"
SILENT = "the sample-ratio test is silent on healthy data"
TRUSTED = "the exposures can be trusted"
FINDS = "the sample-ratio test finds a loss of five percent"
INDEPENDENT = "two experiments are independent"
EXCLUDE = "experiments of one layer exclude each other"
INTERACTION = "an interaction of two experiments is found"
ADDITIVE = "additive effects raise no alarm"
SPILL = "the measured effect of a social feature is its whole effect"
# The claims that each variant fails, no more and no fewer.
BREAKS: dict[str, tuple[str, ...]] = {
    "modulo": (EVEN, SILENT, TRUSTED, INDEPENDENT, EXCLUDE, INTERACTION),
    "one-salt": (SILENT, INDEPENDENT, INTERACTION),
    "reshuffle": (STABLE, EXCLUDE),
    "lossy": (TRUSTED,),
    "by-account": (SPILL,),
}
BUCKETS = 10_000
SRM_LEVEL = 0.0005
SRM_TRIALS, PEEKING_TRIALS = 250, 1_500
LOOKS = 14 * 24  # hourly for two weeks


@dataclass(frozen=True)
class Experiment:
    salt: str
    first: int  # bucket range of its layer: first <= bucket < first + size
    size: int
    layer: str = ""

    def grown(self, size: int) -> Experiment:
        return Experiment(self.salt, self.first, size, self.layer)


def buckets(salt: str, account: int) -> tuple[int, int]:
    """Two independent buckets: whether the account takes part, and on which side."""
    digest = hashlib.blake2b(b"%s:%d" % (salt.encode(), account), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS, int.from_bytes(digest[8:], "big") % BUCKETS


def assign(variant: str, experiment: Experiment, account: int) -> str | None:
    """Control, treatment or None for an account that is not in the experiment."""
    if variant == "modulo":
        return ("control", "treatment")[account % 2]
    salt = "all" if variant == "one-salt" else experiment.salt
    if variant == "reshuffle":
        place = buckets(salt, account)[0] % (2 * experiment.size)
        return None if place >= experiment.size else ("control", "treatment")[place * 2 // experiment.size]
    place, split = buckets(salt, account)
    if experiment.layer:
        place, _ = buckets("layer:" + experiment.layer, account)
    if not 0 <= place - experiment.first < experiment.size:
        return None
    return ("control", "treatment")[split * 2 // BUCKETS]


def accounts(count: int, rng: random.Random) -> list[int]:
    """Account numbers as shards hand them out: shard in the low bits, and the even shards are larger."""
    return [(n << 4 | rng.choices(range(16), weights=[3, 2] * 8)[0]) for n in range(count)]


def simulate(variant: str = "design", people: int = 50_000, seed: int = 2) -> Verdict:
    """Raises KeyError for an unknown variant."""
    verdict = Verdict("experiments", f"{variant}: {VARIANTS[variant]}")
    ids = accounts(people, random.Random(seed))
    _stable(verdict, variant, ids)
    _even(verdict, variant, ids)
    _sample_ratio(verdict, variant, ids, random.Random(seed + 1))
    _independent(verdict, variant, ids)
    _interaction(verdict, variant, ids, random.Random(seed + 3))
    _interference(verdict, variant, random.Random(seed + 4))
    return verdict


def _stable(verdict: Verdict, variant: str, ids: list[int]) -> None:
    small = Experiment("player-2", 0, 1_000)
    large = small.grown(5_000)
    before = {i: assign(variant, small, i) for i in ids}
    again = {i: assign(variant, small, i) for i in ids}
    moved = sum(before[i] is not None and assign(variant, large, i) != before[i] for i in ids)
    verdict.claim(
        STABLE,
        before == again and moved == 0,
        f"{moved} accounts changed sides when the experiment grew from 10 to 50 percent",
    )


def _even(verdict: Verdict, variant: str, ids: list[int]) -> None:
    whole = Experiment("rows-7", 0, BUCKETS)
    sides = Counter(assign(variant, whole, i) for i in ids)
    p = chi_square_counts([sides["control"], sides["treatment"]], [0.5, 0.5])
    verdict.claim(EVEN, p > SRM_LEVEL, f"{sides['control']} to {sides['treatment']}, p = {p:.3g}")


def _sample_ratio(verdict: Verdict, variant: str, ids: list[int], rng: random.Random) -> None:
    """The test must stay silent on healthy experiments and find a loss of five percent of one side."""
    trials, alarms = SRM_TRIALS, 0
    sample = ids[:2_500]
    for n in range(trials):
        alarms += _exposed_p(variant, Experiment(f"aa-{n}", 0, BUCKETS), sample) < 0.05
    low, high = _binomial_range(trials, 0.05)
    verdict.claim(
        SILENT,
        low <= alarms <= high,
        f"{alarms} of {trials} A/A tests below p = 0.05, expected {low} to {high}",
    )
    verdict.figures["aa_alarm_share"] = alarms / trials
    keep = 0.95 if variant == "lossy" else 1.0
    p = _exposed_p(variant, Experiment("home-3", 0, BUCKETS), ids, keep, rng)
    verdict.claim(TRUSTED, p >= SRM_LEVEL, f"sample-ratio p = {p:.3g}")
    lossy = _exposed_p("design", Experiment("home-3", 0, BUCKETS), ids, 0.95, rng)
    verdict.claim(FINDS, lossy < SRM_LEVEL, f"p = {lossy:.3g}")
    verdict.figures["accounts_to_see_two_percent"] = needed_for(0.02)
    verdict.figures["looks"] = LOOKS
    verdict.figures["peeking_alarm_share"] = peeking(rng)


def _exposed_p(
    variant: str, experiment: Experiment, ids: list[int], keep: float = 1.0, rng: random.Random | None = None
) -> float:
    sides = Counter(assign(variant, experiment, i) for i in ids)
    treatment = sides["treatment"]
    if rng is not None and keep < 1.0:
        treatment = sum(rng.random() < keep for _ in range(treatment))
    return chi_square_counts([sides["control"], treatment], [0.5, 0.5])


def needed_for(loss: float) -> int:
    """Accounts needed for the sample-ratio test to find this loss of one side nine times of ten."""
    z_level, z_power = 3.4808, 1.2816  # two-sided 0.0005, one-sided 0.1
    share = (1 - loss) / (2 - loss)
    return math.ceil(((z_level * 0.5 + z_power * math.sqrt(share * (1 - share))) / (0.5 - share)) ** 2)


def peeking(rng: random.Random, trials: int = PEEKING_TRIALS) -> float:
    """Share of healthy experiments that fall below the level at one of many looks, in equal steps of accounts."""
    limit = 3.4808  # the normal quantile of a two-sided 0.0005
    alarms = 0
    for _ in range(trials):
        walk = 0.0
        for look in range(1, LOOKS + 1):
            walk += rng.gauss(0, 1)
            if abs(walk) > limit * math.sqrt(look):
                alarms += 1
                break
    return alarms / trials


def _binomial_range(n: int, p: float) -> tuple[int, int]:
    spread = 3.3 * math.sqrt(n * p * (1 - p))
    return math.ceil(n * p - spread), math.floor(n * p + spread)


def _independent(verdict: Verdict, variant: str, ids: list[int]) -> None:
    one, two = Experiment("rows-7", 0, BUCKETS), Experiment("art-4", 0, BUCKETS)
    both = Counter((assign(variant, one, i), assign(variant, two, i)) for i in ids)
    table = [[both[a, b] for b in ("control", "treatment")] for a in ("control", "treatment")]
    p = chi_square_independence(table) if min(map(sum, zip(*table))) and all(map(sum, table)) else 0.0
    verdict.claim(INDEPENDENT, p > SRM_LEVEL, f"p = {p:.3g}")
    first, second = (Experiment(s, f, 5_000, "player") for s, f in (("x", 0), ("y", 5_000)))
    in_both = sum(assign(variant, first, i) is not None and assign(variant, second, i) is not None for i in ids)
    verdict.claim(EXCLUDE, in_both == 0, f"{in_both} accounts in both")


def _interaction(verdict: Verdict, variant: str, ids: list[int], rng: random.Random) -> None:
    """Two changes that each help and together hurt must be found; two that merely add up must not raise an alarm."""
    one, two = Experiment("rows-7", 0, BUCKETS), Experiment("art-4", 0, BUCKETS)
    sides = [(assign(variant, one, i) == "treatment", assign(variant, two, i) == "treatment") for i in ids]
    clash, additive = interaction_p(sides, -0.08, rng), interaction_p(sides, 0.0, rng)
    verdict.claim(INTERACTION, clash < 0.01, f"p = {clash:.3g}")
    verdict.claim(ADDITIVE, additive >= 0.01, f"p = {additive:.3g}")


def interaction_p(sides: list[tuple[bool, bool]], together: float, rng: random.Random) -> float:
    """P-value of the interaction term, from the means of the four cells; hours watched have mean 1.5, deviation 1."""
    cells: dict[tuple[bool, bool], list[float]] = {(a, b): [] for a in (False, True) for b in (False, True)}
    for a, b in sides:
        cells[a, b].append(rng.gauss(1.5 + 0.03 * a + 0.03 * b + together * (a and b), 1.0))
    if min(map(len, cells.values())) < 2:
        return 1.0  # a cell is empty: the interaction cannot be estimated at all
    mean = {key: sum(values) / len(values) for key, values in cells.items()}
    estimate = mean[True, True] - mean[True, False] - mean[False, True] + mean[False, False]
    variance = sum(
        sum((v - mean[key]) ** 2 for v in values) / (len(values) - 1) / len(values) for key, values in cells.items()
    )
    return normal_tail(estimate / math.sqrt(variance))


CLUSTERS, FRIENDS = 10_000, 8  # groups of friends who recommend to each other
ALIKE = 0.3  # standard deviation of what friends have in common; the rest has one of 1.0
DESIGN_EFFECT = 1 + (FRIENDS - 1) * ALIKE**2 / (ALIKE**2 + 1.0)  # of assigning by cluster, on the variance
DIRECT, PASSED_ON = 0.10, 0.15  # hours a day: from having the feature, and from all of one's friends having it


def _interference(verdict: Verdict, variant: str, rng: random.Random) -> None:
    """A feature whose use by friends helps as well: both sides must differ by what all would gain if all had it."""
    clusters = spill_over(variant != "by-account", rng)
    estimate, error = clusters
    whole = DIRECT + PASSED_ON
    detail = f"{estimate:.3f} h a day measured, standard error {error:.3f}, {whole:.2f} true"
    verdict.claim(SPILL, abs(estimate - whole) < 3.3 * error, detail)
    verdict.figures |= {"spill_estimate": estimate, "spill_error": error, "spill_true": whole}


def spill_over(by_cluster: bool, rng: random.Random) -> tuple[float, float]:
    """The measured difference between the sides and its standard error, from the units that were assigned: clusters or accounts."""
    sides: tuple[list[float], list[float]] = ([], [])
    experiment = Experiment("friends-1", 0, BUCKETS)
    for group in range(CLUSTERS):
        shared = rng.gauss(0, ALIKE)  # friends resemble each other
        units = [group if by_cluster else group * FRIENDS + n for n in range(FRIENDS)]
        treated = [assign("design", experiment, unit) == "treatment" for unit in units]
        for side in (False, True):
            hours = [
                1.5 + shared + rng.gauss(0, 1.0) + DIRECT * t + PASSED_ON * (sum(treated) - t) / (FRIENDS - 1)
                for t in treated
                if t == side
            ]
            if hours:
                sides[side].extend([sum(hours) / len(hours)] if by_cluster else hours)
    means = [sum(s) / len(s) for s in sides]
    variance = sum(sum((v - m) ** 2 for v in s) / (len(s) - 1) / len(s) for s, m in zip(sides, means))
    return means[1] - means[0], math.sqrt(variance)


def detectable(accounts: float, variation: float = 2 / 3) -> float:
    """The smallest relative change of mean hours that nine experiments in ten find at p < 0.05, all accounts taking part."""
    return (1.959964 + 1.281552) * variation * 2 / math.sqrt(accounts)
