"""One line of the table of costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Made = Literal["counted", "measured", "estimated"]

GIGA = 1e9
TERA = 1e12
EXA = 1e18


@dataclass(frozen=True)
class Cost:
    """What something takes.

    Attributes:
        part: Heading under which the line stands.
        what: What takes it.
        amount: How much, in `unit`.
        unit: Such as GB (a thousand million bytes), TFLOP, GPU h.
        made: `counted`: follows from the configuration exactly, or was traced; `measured`: a rate
            that was measured, times a count; `estimated`: rests on an assumption that may be wrong.
        how: Where it comes from, in words.
    """

    part: str
    what: str
    amount: float
    unit: str
    made: Made
    how: str
