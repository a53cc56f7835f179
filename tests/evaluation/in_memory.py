"""A case whose fields are arrays, by lead from 0."""

from __future__ import annotations

import datetime as dt

import numpy as np

from hybridom.errors import UserError
from hybridom.evaluation.case import Case
from hybridom.evaluation.regions import region_weights

START = dt.date(2004, 2, 26)


class Held:
    """Fields (leads, nz or 1, ny, nx) by name; the truth by day, a system by lead."""

    def __init__(self, fields, first=0):
        self.fields, self.first = fields, first

    def field(self, name, when, normal=None):
        lead = when if isinstance(when, int) else (when - START).days
        if lead < self.first:
            raise UserError(f"lead {lead} is missing")
        return self.fields[name][lead]


def make_case(grid, wet, truth, systems, boxes=None, days=None, first=0, edges=0):
    """A case from fields of the truth and fields of each system; systems begin at lead `first`."""
    length = len(next(iter(truth.values())))
    return Case(
        start=START,
        days=length - 1 if days is None else days,
        grid=grid,
        wet=wet,
        regions=region_weights(grid, wet, boxes or {}, edges=edges),
        names=tuple(truth),
        truth=Held(truth),
        climatology=None,
        systems={name: Held(fields, first) for name, fields in systems.items()},
    )


def scored(family, case, settings):
    """The table of a family for a case."""
    accumulator = family.begin(case, settings)
    for day in case.each_day():
        accumulator.add(day)
    return accumulator.table()


def currents(grid, u, v, leads):
    """Fields uo and vo (leads, 1, ny, nx) from functions of longitude and latitude in degrees."""
    lon, lat = np.meshgrid(grid.lon, grid.lat)
    parts = {"uo": u, "vo": v}
    return {
        name: np.broadcast_to(np.asarray(part(lon, lat), float), (leads, 1, *lon.shape)).copy()
        for name, part in parts.items()
    }
