"""Two ways to pass: as an improvement, and as a change that is to improve nothing."""

from __future__ import annotations

from sluicegate.errors import ConfigError
from sluicegate.gates.checks import Case


def ways_of(case: Case, intent: str) -> tuple[str, ...]:
    """On which ways the candidate may pass, the first before the others.

    Raises:
        ConfigError: a neutral change is meant, and the policy has no rule for those.
    """
    if intent == "neutral":
        if not case.policy.neutral:
            raise ConfigError(
                "release.intent is neutral, and the policy has no rule with `way: neutral`.",
                hint="Give gates.yaml one, such as not_worse_than_champion on the main metric.",
            )
        return ("neutral",)
    return ("improve", "neutral") if _rewarded(case) else ("improve",)


def _rewarded(case: Case) -> bool:
    """Whether the candidate saves as much of some operation as the policy rewards."""
    if case.champion is None or case.obstacle:
        return False
    old, new = case.champion.operations, case.candidate.operations
    return any(
        name in old and name in new and new[name] <= (1.0 - share) * old[name]
        for name, share in case.policy.rewards.items()
        if old.get(name, 0.0) > 0.0
    )
