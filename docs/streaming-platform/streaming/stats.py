"""The two distributions that the A/B simulation needs."""

from __future__ import annotations

import math


def normal_tail(z: float) -> float:
    """Two-sided p-value of a standard normal statistic."""
    return math.erfc(abs(z) / math.sqrt(2))


def chi_square_tail(statistic: float, freedom: int) -> float:
    """P(X >= statistic) for X chi-square: the regularised upper incomplete gamma function Q(freedom/2, statistic/2)."""
    if statistic <= 0:
        return 1.0
    a, x = freedom / 2, statistic / 2
    scale = math.exp(-x + a * math.log(x) - math.lgamma(a))
    if x < a + 1:
        return 1.0 - scale * _series(a, x)
    return scale * _continued_fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    n = a
    while abs(term) > abs(total) * 1e-14:
        n += 1
        term *= x / n
        total += term
    return total


def _continued_fraction(a: float, x: float) -> float:
    """Lentz's method."""
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    h = d
    for n in range(1, 500):
        an = -n * (n - a)
        b += 2
        d = 1 / (an * d + b or tiny)
        c = b + an / c or tiny
        h *= d * c
        if abs(d * c - 1) < 1e-14:
            break
    return h


def chi_square_counts(observed: list[int], shares: list[float]) -> float:
    """P-value of the hypothesis that the counts were drawn with these shares."""
    total = sum(observed)
    statistic = sum((o - total * s) ** 2 / (total * s) for o, s in zip(observed, shares))
    return chi_square_tail(statistic, len(observed) - 1)


def chi_square_independence(table: list[list[int]]) -> float:
    """P-value of the hypothesis that rows and columns of a contingency table are independent."""
    rows = [sum(row) for row in table]
    columns = [sum(column) for column in zip(*table)]
    total = sum(rows)
    statistic = sum(
        (cell - rows[r] * columns[c] / total) ** 2 / (rows[r] * columns[c] / total)
        for r, row in enumerate(table)
        for c, cell in enumerate(row)
    )
    return chi_square_tail(statistic, (len(rows) - 1) * (len(columns) - 1))
