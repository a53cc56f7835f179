"""Which step had the best validation so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


class Best:
    """The step with the lowest `skill` of `rollout.validate`.

    Args:
        wanted: Whether anyone asks (`training.checkpoint.best`); else no step is ever the best.
        plain: Resolved configuration of the training stage; skills are comparable where leads,
            starts and period of validation are the same.

    Attributes:
        step: The step; None while there is none.
        skill: Its skill.
    """

    def __init__(self, wanted: bool, plain: Mapping[str, Any]) -> None:
        section = plain["training"]["validation"]
        self.wanted = wanted
        self.how = {
            "leads": list(section["leads"]),
            "starts": section["starts"],
            "period": dict(plain["periods"]["validation"]),
        }
        self.step: int | None = None
        self.skill = math.inf
        self._before: tuple[int | None, float] = (None, math.inf)

    def note(self, step: int, skill: float) -> bool:
        """Take in a validation; whether it is better than all before. NaN never is."""
        if not self.wanted or not skill < self.skill:
            return False
        self._before = self.step, self.skill
        self.step, self.skill = step, skill
        return True

    def undo(self) -> None:
        """Take back the latest `note` that was better; its checkpoint could not be written."""
        self.step, self.skill = self._before

    def state(self) -> dict[str, Any] | None:
        """What a resumable checkpoint keeps."""
        if self.step is None:
            return None
        return {"step": self.step, "skill": self.skill, "validated": self.how}

    def restore(self, state: Mapping[str, Any] | None) -> bool:
        """Inverse of `state`; False where that came from another validation and is left out."""
        if not self.wanted or state is None:
            return True
        if state["validated"] != self.how:
            return False
        self.step, self.skill = state["step"], state["skill"]
        return True
