"""Start dates, leads and valid days of foreign files, in the layouts that are in use.

Fields are daily means and are placed by calendar day: a stamp at 00:00 and one at 12:00 of a day
mean the same. The lead of a field is its valid day less the start date, the day of the initial
state, so that the first forecast day is lead 1.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from hybridom.data.days import as_date
from hybridom.errors import UserError
from hybridom.evaluation.external import names
from hybridom.evaluation.external.sources import Source

log = logging.getLogger(__name__)

Place = tuple[Source, dict[str, int]]
Key = tuple[dt.date, int]
K = TypeVar("K")
UNITS = {"d": "D", "day": "D", "days": "D", "h": "h", "hour": "h", "hours": "h"}


def forecast_index(sources: Sequence[Source], chosen: Sequence[str]) -> dict[str, dict[Key, Place]]:
    """Where the field of every variable, start date and lead lies.

    Raises:
        UserError: Times are missing, contradict one another, or a field appears twice.
    """
    return _index(sources, chosen, _forecast_places, lambda key: f"lead {key[1]} from {key[0]}")


def day_index(sources: Sequence[Source], chosen: Sequence[str]) -> dict[str, dict[dt.date, Place]]:
    """Where the field of every variable and calendar day of the truth lies.

    Raises:
        UserError: There is no time axis, or a day appears twice.
    """
    return _index(sources, chosen, _day_places, str)


def _index(
    sources: Sequence[Source],
    chosen: Sequence[str],
    places: Callable[[Source, str], Iterable[tuple[K, dict[str, int]]]],
    words: Callable[[K], str],
) -> dict[str, dict[K, Place]]:
    """Where every field of the chosen variables lies, each once; `words` names it in messages."""
    index: dict[str, dict[K, Place]] = {name: {} for name in chosen}
    for source in sources:
        for name in source.variables:
            if name not in index:
                continue
            for key, at in places(source, name):
                if key in index[name]:
                    raise UserError(
                        f"{source.path}: {name} of {words(key)} appears a second time (first in "
                        f"{index[name][key][0].path}); expected one daily mean"
                    )
                index[name][key] = (source, at)
    return index


def member_axis(source: Source, name: str) -> str | None:
    """The dimension of the members of an ensemble, or None."""
    x = source.data[source.variables[name]]
    return names.find_axis(x, "realization", names.MEMBER)


def _forecast_places(source: Source, name: str) -> list[tuple[Key, dict[str, int]]]:
    x = source.data[source.variables[name]]
    first_day = names.FIRST_DAY if names.FIRST_DAY in x.dims else None
    start = first_day or names.find_axis(x, "forecast_reference_time", names.START)
    index = names.LEAD_INDEX if names.LEAD_INDEX in x.dims else None
    lead = index or names.find_axis(x, "forecast_period", names.LEAD)
    time = names.find_axis(x, "time", names.TIME, "T")
    if lead is not None and start is None and time is not None:
        start = time  # (time, lead): times of the starts
    known = {start, lead, time if lead is None else None} - {None}
    _refuse_other_axes(source, name, known)
    if lead is None:
        return _by_time(source, x, start, time)
    if (first_day or _scalar_first_day(source, start)) and index is None:
        raise UserError(
            f"{source.path}: {names.FIRST_DAY} comes with {lead}; expected {names.LEAD_INDEX}, "
            "counted from 0 at the first forecast day"
        )
    starts = _stamps(source, start) if start else _one_start(source)
    if first_day:
        starts = [day - np.timedelta64(1, "D") for day in starts]
    places = []
    for i, begin in enumerate(starts):
        for j, period in enumerate(_periods(source, x, lead)):
            day = as_date(begin + period)
            at = {lead: j, **({start: i} if start else {})}
            _require_valid_day(source, x, at, day)
            places.append(((as_date(begin), (day - as_date(begin)).days), at))
    return _from_the_start_on(source, places)


def _scalar_first_day(source: Source, start: str | None) -> bool:
    return start is None and names.scalar(source.data, (names.FIRST_DAY,)) is not None


def _by_time(
    source: Source, x: xr.DataArray, start: str | None, time: str | None
) -> list[tuple[Key, dict[str, int]]]:
    """Plain files: one forecast along the time axis."""
    if start is not None and x.sizes[start] > 1:
        raise UserError(
            f"{source.path}: {x.name} has the axis {start} without one of leads; expected one of "
            f"{', '.join(names.LEAD)}"
        )
    if time is None:
        single = names.scalar(source.data, names.TIME)
        if single is None:
            raise UserError(
                f"{source.path}: {x.name} has no time and no lead axis (its dimensions are "
                f"{', '.join(map(str, x.dims))}); expected time, or start and lead"
            )
        pairs: list[tuple[np.datetime64, dict[str, int]]] = [(_stamp(single, source), {})]
    else:
        pairs = [(stamp, {time: i}) for i, stamp in enumerate(_stamps(source, time))]
    begin = _given_start(source)
    earliest = as_date(min(stamp for stamp, _ in pairs))
    first = earliest - dt.timedelta(1) if begin is None else as_date(begin)
    places = [((first, (as_date(stamp) - first).days), at) for stamp, at in pairs]
    return _from_the_start_on(source, places)


def _from_the_start_on(
    source: Source, places: list[tuple[Key, dict[str, int]]]
) -> list[tuple[Key, dict[str, int]]]:
    kept = [(key, at) for key, at in places if key[1] >= 0]
    if len(kept) < len(places):
        log.warning(
            "%s: %d fields before the start are left out", source.path, len(places) - len(kept)
        )
    return kept


def _day_places(source: Source, name: str) -> list[tuple[dt.date, dict[str, int]]]:
    x = source.data[source.variables[name]]
    time = names.find_axis(x, "time", names.TIME, "T")
    _refuse_other_axes(source, name, {time} - {None})
    if time is not None:
        return [(as_date(stamp), {time: i}) for i, stamp in enumerate(_stamps(source, time))]
    single = names.scalar(source.data, names.TIME)
    if single is None:
        raise UserError(
            f"{source.path}: {x.name} has no time axis (its dimensions are "
            f"{', '.join(map(str, x.dims))}); expected the days of the truth along time"
        )
    return [(as_date(_stamp(single, source)), {})]


def _refuse_other_axes(source: Source, name: str, known: set[Any]) -> None:
    x, members = source.data[source.variables[name]], member_axis(source, name)
    place = source.places[name].dims
    for dim in x.dims:
        if dim in known or dim in place or dim == members or x.sizes[dim] == 1:
            continue
        raise UserError(
            f"{source.path}: {x.name} has the axis {dim} of {x.sizes[dim]}, which is unknown here; "
            "expected start, lead or time, depth, latitude and longitude"
        )


def refuse_members(sources: Sequence[Source], chosen: Sequence[str], role: str) -> None:
    """Refuse an ensemble where one field is expected.

    Raises:
        UserError: Says which option takes ensembles.
    """
    for source in sources:
        for name in (name for name in chosen if name in source.variables):
            axis = member_axis(source, name)
            if axis is not None and source.data.sizes[axis] > 1:
                raise UserError(
                    f"{source.path}: {source.variables[name]} has {source.data.sizes[axis]} "
                    f"members ({axis}); expected one field as {role}, give ensembles as --members"
                )


def _periods(source: Source, x: xr.DataArray, lead: str) -> list[np.timedelta64]:
    """Time from the start to each lead."""
    if lead not in x.coords:
        if lead != names.LEAD_INDEX:
            raise UserError(f"{source.path}: {lead} of {x.name} has no values; expected days")
        values = np.arange(x.sizes[lead])
    else:
        values = x[lead].values
    if values.dtype.kind == "m":
        return list(values.astype("timedelta64[s]"))
    if lead == names.LEAD_INDEX:
        return [np.timedelta64(int(value) + 1, "D") for value in values]
    units = UNITS.get(str(x[lead].attrs.get("units", "")).lower())
    if units is None:
        raise UserError(
            f"{source.path}: {lead} is in units {x[lead].attrs.get('units')!r}; expected days or "
            "hours"
        )
    seconds = {"D": 86400.0, "h": 3600.0}[units]
    return [np.timedelta64(round(float(value) * seconds), "s") for value in values]


def _one_start(source: Source) -> list[np.datetime64]:
    begin = _given_start(source)
    if begin is None:
        raise UserError(
            f"{source.path}: leads without a start date; expected a coordinate or attribute "
            "forecast_reference_time"
        )
    return [begin]


def _given_start(source: Source) -> np.datetime64 | None:
    """The start date that the file names, if any."""
    first_day = names.scalar(source.data, (names.FIRST_DAY,))
    if first_day is not None:
        return _stamp(first_day, source) - np.timedelta64(1, "D")
    coordinates = source.data.drop_attrs()
    found = names.scalar(coordinates, names.START)
    if found is None:
        found = source.data.attrs.get("forecast_reference_time")
    return None if found is None else _stamp(found, source)


def _stamps(source: Source, axis: str) -> list[np.datetime64]:
    if axis not in source.data.coords:
        raise UserError(f"{source.path}: {axis} has no values; expected dates")
    return [_stamp(value, source, axis) for value in source.data[axis].values]


def _stamp(value: Any, source: Source, axis: str = "time") -> np.datetime64:
    try:
        if isinstance(value, (np.integer, np.floating, int, float)):
            raise ValueError("a number without CF units")
        return np.datetime64(pd.Timestamp(value), "s")
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{source.path}: {axis} {value!r} is not a date of the standard calendar ({error}); "
            "expected CF times such as days since 1970-01-01"
        ) from None


def _require_valid_day(
    source: Source, x: xr.DataArray, at: Mapping[str, int], day: dt.date
) -> None:
    """Refuse a file whose own valid times contradict its start and leads."""
    for key in names.TIME:
        if key in x.coords and key not in x.dims and set(x[key].dims) <= set(at) and x[key].ndim:
            found = x[key].isel({d: i for d, i in at.items() if d in x[key].dims}).values[()]
            if as_date(_stamp(found, source, key)) != day:
                raise UserError(
                    f"{source.path}: {key} says {as_date(_stamp(found, source, key))} where start "
                    f"and lead make {day}; expected the valid day"
                )
