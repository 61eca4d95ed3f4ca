"""What a simulation says: findings that hold or do not, and the figures that the paper quotes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    claim: str
    holds: bool
    detail: str


@dataclass
class Verdict:
    simulation: str
    variant: str
    findings: list[Finding] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def claim(self, claim: str, holds: bool, detail: str) -> None:
        self.findings.append(Finding(claim, holds, detail))

    @property
    def holds(self) -> bool:
        return bool(self.findings) and all(f.holds for f in self.findings)

    def broken(self) -> set[str]:
        return {f.claim for f in self.findings if not f.holds}

    def __str__(self) -> str:
        head = f"{self.simulation} ({self.variant}): {'HOLDS' if self.holds else 'BROKEN'}"
        return "\n".join([head, *(f"  {'ok ' if f.holds else 'BAD'}  {f.claim}: {f.detail}" for f in self.findings)])
