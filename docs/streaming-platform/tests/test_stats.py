"""Tail probabilities against values of the printed tables."""

import unittest

from streaming.stats import chi_square_counts, chi_square_independence, chi_square_tail, normal_tail


class Tails(unittest.TestCase):
    def test_chi_square(self) -> None:
        for statistic, freedom, p in (
            (3.841, 1, 0.05),
            (6.635, 1, 0.01),
            (5.991, 2, 0.05),
            (18.307, 10, 0.05),
            (0.5, 5, 0.9921),
        ):
            self.assertAlmostEqual(chi_square_tail(statistic, freedom), p, delta=2e-4)
        self.assertEqual(chi_square_tail(0, 3), 1.0)

    def test_normal(self) -> None:
        self.assertAlmostEqual(normal_tail(1.959964), 0.05, places=6)
        self.assertAlmostEqual(normal_tail(1.5), chi_square_tail(1.5**2, 1), places=9)

    def test_counts_and_tables(self) -> None:
        self.assertEqual(chi_square_counts([500, 500], [0.5, 0.5]), 1.0)
        self.assertLess(chi_square_counts([600, 400], [0.5, 0.5]), 1e-9)
        self.assertEqual(chi_square_independence([[10, 20], [20, 40]]), 1.0)
        self.assertLess(chi_square_independence([[50, 1], [1, 50]]), 1e-9)
