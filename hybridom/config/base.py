"""What the sections share: strictness, constrained numbers, periods of days."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base of all sections: immutable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Period(Section):
    """Days from `start` to `end`, both included."""

    start: dt.date
    end: dt.date

    @model_validator(mode="after")
    def _ordered(self) -> Period:
        if self.end < self.start:
            raise ValueError(f"end {self.end} lies before start {self.start}")
        return self

    @property
    def length(self) -> int:
        """Number of days."""
        return (self.end - self.start).days + 1

    @property
    def years(self) -> list[int]:
        """Calendar years touched."""
        return list(range(self.start.year, self.end.year + 1))

    def days(self, year: int | None = None) -> list[dt.date]:
        """All days, or those that lie in `year`."""
        every = (self.start + dt.timedelta(n) for n in range(self.length))
        return [d for d in every if year is None or d.year == year]
