"""Cache hit rates from a Zipf popularity: a shared CDN that forgets, and an own edge that is filled ahead of demand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class File:
    """One kind of file of every title: its share of all bytes asked for, its bytes per title, the share of plays asking."""

    demand: float
    size: float
    plays: float = 1.0


@lru_cache(maxsize=4096)
def harmonic(n: float, exponent: float) -> float:
    """Sum of k^-exponent for k = 1..n: exact up to 100, the rest by an integral with its first correction."""
    head = min(int(n), 100)
    total: float = sum(float(k) ** -exponent for k in range(1, head + 1))
    if n <= head:
        return total
    low, high = head + 0.5, n + 0.5
    if abs(exponent - 1.0) < 1e-9:
        return total + math.log(high / low)
    return total + float(high ** (1 - exponent) - low ** (1 - exponent)) / (1 - exponent)


def prefilled(files: list[File], titles: float, exponent: float, capacity: float) -> float:
    """Byte hit rate of a cache of `capacity` bytes that holds the files with the most bytes served per byte stored."""
    if capacity >= titles * sum(f.size for f in files):
        return 1.0
    ranks = _cutoffs(files, titles, exponent, capacity)
    whole = harmonic(titles, exponent)
    return sum(f.demand * harmonic(k, exponent) / whole for f, k in zip(files, ranks) if k >= 1)


def _cutoffs(files: list[File], titles: float, exponent: float, capacity: float) -> list[float]:
    """For each kind of file the rank down to which titles are kept; bisects the density at the edge of the cache."""
    low, high = 1e-30, 1e30
    ranks: list[float] = []
    for _ in range(200):
        density = math.sqrt(low * high)
        ranks = [min(titles, (f.demand / f.size / density) ** (1 / exponent)) for f in files]
        if sum(f.size * k for f, k in zip(files, ranks) if k >= 1) > capacity:
            low = density
        else:
            high = density
    return ranks


def retained(files: list[File], titles: float, exponent: float, plays_per_hour: float, hours: float) -> float:
    """Byte hit rate where an object survives `hours` without a request (Che's approximation for a shared cache).

    How often a file is asked for depends on the plays that use it, not on its bytes.
    """
    whole = harmonic(titles, exponent)
    demand = sum(f.demand for f in files)
    hit = 0.0
    for first, last in _bands(titles):
        share = (harmonic(last, exponent) - harmonic(first - 1, exponent)) / whole
        rate = plays_per_hour * share / (last - first + 1)
        hit += sum(share * f.demand * -math.expm1(-rate * hours * f.plays) for f in files)
    return hit / demand


def _bands(titles: float) -> list[tuple[int, int]]:
    """Ranks in bands that grow by 5 percent, so that a large catalogue costs a few hundred steps."""
    bands, first, last = [], 1, int(titles)
    while first <= last:
        end = min(last, max(first, int(first * 1.05)))
        bands.append((first, end))
        first = end + 1
    return bands
