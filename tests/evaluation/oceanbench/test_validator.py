"""Every trap that passes through OceanBench in silence is found and told in one line."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr

from hybridom.cli import main
from hybridom.errors import UserError
from hybridom.evaluation.oceanbench import conventions
from hybridom.evaluation.oceanbench.forecasts import from_dataset, open_forecasts
from hybridom.evaluation.oceanbench.validator import validate

LAT, LON = np.arange(-10.5, -2.0), np.arange(20.5, 32.0)
DEPTHS = np.array(list(conventions.DEPTHS.values()))


def make(days: int = 10, start: str = "2024-01-03") -> xr.Dataset:
    """A sound forecast on a piece of the 1 degree grid."""
    rng = np.random.default_rng(3)
    shape = days, DEPTHS.size, LAT.size, LON.size
    fields = {
        "thetao": rng.uniform(2, 25, shape),
        "so": rng.uniform(33, 37, shape),
        "uo": rng.normal(0, 0.3, shape),
        "vo": rng.normal(0, 0.3, shape),
        "zos": rng.normal(0, 0.3, (days, *shape[2:])),
    }
    units = {"thetao": "degrees_C", "so": "1e-3", "uo": "m s-1", "vo": "m s-1", "zos": "m"}
    variables = {}
    for name, values in fields.items():
        values[..., 0, :3] = np.nan
        dims = ("time", "depth", "latitude", "longitude")
        kept = dims if name != "zos" else (dims[0], *dims[2:])
        attributes = {"standard_name": conventions.STANDARD_NAME[name], "units": units[name]}
        variables[name] = (kept, values.astype(np.float32), attributes)
    times = np.datetime64(start, "ns") + np.arange(days) * np.timedelta64(1, "D")
    named = {
        "depth": (DEPTHS, "m"),
        "latitude": (LAT, "degrees_north"),
        "longitude": (LON, "degrees_east"),
    }
    coords = {
        axis: (axis, values, {"standard_name": axis, "units": unit})
        for axis, (values, unit) in named.items()
    }
    return xr.Dataset(variables, coords={"time": times, **coords})


def save(data: xr.Dataset, path, whole=False, **options):
    """Write a store with a chunk a day and level, or one a variable."""
    settings = {"zarr_format": 2, "consolidated": True} | options
    encoding = {
        name: {"chunks": x.shape if whole else (1,) * (x.ndim - 2) + x.shape[-2:]}
        for name, x in data.data_vars.items()
    }
    data.to_zarr(path, mode="w", encoding=encoding, **settings)
    return path


def findings(data: xr.Dataset, tmp_path, name: str = "20240103.zarr", **options):
    """Errors and warnings of one store, each as one text."""
    found = validate(save(data, tmp_path / name, **options))
    return "\n".join(found.errors), "\n".join(found.warnings)


def test_a_sound_store_has_no_error(tmp_path):
    errors, warnings = findings(make(), tmp_path)
    assert errors == ""
    assert "9 x 12 points found, 170 x 360 expected" in warnings
    assert "1 of the 52 official starts" in warnings
    assert len(warnings.splitlines()) == 3


def swapped(name, **attributes):
    return lambda data: data.assign({name: data[name].assign_attrs(**attributes)})


def without(name, attribute):
    def change(data):
        kept = {key: value for key, value in data[name].attrs.items() if key != attribute}
        return data.assign({name: data[name].copy().drop_attrs().assign_attrs(kept)})

    return change


def axis(name, function):
    return lambda data: data.assign_coords(
        {name: (name, function(data[name].values), data[name].attrs)}
    )


def times(function):
    return lambda data: data.assign_coords(time=function(data["time"].values))


def field(name, function):
    return lambda data: data.assign({name: data[name].copy(data=function(data[name].values))})


def lost_later(values):
    values = values.copy()
    values[4, ..., 5, 5] = np.nan
    return values


TRAPS = {
    "no depth coordinate": (
        lambda data: data.drop_vars("depth"),
        "depth: no coordinate found, a coordinate along its dimension expected; add it, in metres",
    ),
    "a missing variable": (
        lambda data: data.drop_vars("so"),
        "so: no variable found, standard_name 'sea_water_salinity' expected",
    ),
    "no standard name": (
        without("zos", "standard_name"),
        "zos: standard_name None found, 'sea_surface_height_above_geoid' expected",
    ),
    "a wrong standard name": (
        swapped("uo", standard_name="sea_water_x_velocity"),
        "uo: standard_name 'sea_water_x_velocity' found, 'eastward_sea_water_velocity' expected",
    ),
    "a standard name twice": (
        lambda data: data.assign(v15=data["vo"]),
        "vo: v15 and vo with standard_name northward_sea_water_velocity found",
    ),
    "a coordinate under another standard name": (
        swapped("latitude", standard_name="grid_latitude"),
        "latitude: standard_name 'grid_latitude' found, 'latitude' expected",
    ),
    "another unit": (
        swapped("thetao", units="K"),
        "thetao: units 'K' found, 'degrees_C' expected; convert it",
    ),
    "no unit": (without("vo", "units"), "vo: no units found, 'm s-1' expected"),
    "depth in kilometres": (swapped("depth", units="km"), "depth: units 'km' found, 'm"),
    "half a degree": (
        axis("longitude", lambda x: 20.5 + 0.5 * np.arange(x.size)),
        "spacing: 1 by 0.5 degrees found, 1/12, 1/4 or 1 degree expected",
    ),
    "a spacing that changes beyond the first two values": (
        axis("latitude", lambda x: np.where(x > -5, x + 0.5, x)),
        "spacing of latitude: 1.5 degrees at -5.5 found, 1 throughout expected",
    ),
    "another depth": (
        axis("depth", lambda x: np.where(x > 500, 453.9377, x)),
        "depth of 500m: 453.938 m as the nearest level found, 541.089 m expected",
    ),
    "longitudes from 0 to 360": (
        axis("longitude", lambda x: x + 180.0),
        "longitude: 200.5 to 211.5 found, -180 to 180 expected; subtract 360",
    ),
    "descending latitudes": (
        lambda data: data.isel(latitude=slice(None, None, -1)),
        "latitude: -2.5, -3.5, ... -10.5 found, ascending values expected",
    ),
    "descending depths": (
        lambda data: data.isel(depth=slice(None, None, -1)),
        "depth: 541.089, 318.127, ... 0.494025 found, ascending values expected",
    ),
    "coordinates beside the grid": (
        axis("latitude", lambda x: x + 3e-4),
        "latitude: -10.4997 (9 of 9 values) found, -10.5 within 0.0001 expected",
    ),
    "a grid of cell corners": (
        axis("longitude", lambda x: x + 0.5),
        "longitude: 21 (12 of 12 values) found",
    ),
    "the analysis as the first day": (
        times(lambda t: t - np.timedelta64(1, "D")),
        "time: 2024-01-02 as the first day found, 2024-01-03, as the store is named expected",
    ),
    "the analysis named as such": (
        lambda data: data.assign_coords(forecast_reference_time=data["time"].values[0]),
        "first_day_datetime: 2024-01-03, the day of the analysis found",
    ),
    "a day left out": (
        lambda data: data.isel(time=[0, 1, 2, 4]),
        "time: steps other than a day found",
    ),
    "eleven leads": (
        lambda data: make(days=11),
        "lead_day_index: 11 leads found, 10, the days 0 to 9 expected",
    ),
    "leads from 1": (
        lambda data: (
            data.drop_vars("time")
            .rename(time="lead_day_index")
            .assign_coords(lead_day_index=np.arange(1, 11))
        ),
        "lead_day_index: 1 to 10 found, 0 to 9 expected; count from 0",
    ),
    "kelvins": (
        field("thetao", lambda x: x + 273.15),
        "expected; these are kelvins: subtract 273.15",
    ),
    "kilograms a kilogram": (
        field("so", lambda x: x / 1000),
        "expected; these are kg/kg: multiply by 1000",
    ),
    "a fill value on land": (
        field("uo", lambda x: np.nan_to_num(x, nan=9.96e36)),
        "expected; a fill value stands on land: write NaN",
    ),
    "infinite values": (
        field("vo", lambda x: np.nan_to_num(x, nan=np.inf)),
        "vo: 180 infinite values found",
    ),
    "no values": (field("zos", lambda x: x * np.nan), "zos: no value at all found"),
    "cells that lose their value": (
        field("so", lost_later),
        "so: 6 cells without value at lead_day_index 4 found, those of 2024-01-03 at",
    ),
    "a variable without depth": (
        lambda data: data.assign(thetao=data["thetao"].isel(depth=0, drop=True)),
        "thetao: dimensions time, latitude, longitude found, time, depth, latitude, longitude",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_is_an_error(trap, tmp_path):
    change, expected = TRAPS[trap]
    errors, _ = findings(change(make()), tmp_path, whole=True)
    assert expected in errors
    assert errors.count("\n") == 0, errors


def test_zarr_of_another_format_is_an_error(tmp_path):
    errors, _ = findings(make(), tmp_path, zarr_format=3, consolidated=False)
    assert errors.startswith("20240103.zarr: format: Zarr v3 found, Zarr v2 expected")


def test_metadata_that_are_not_consolidated_are_an_error(tmp_path):
    errors, _ = findings(make(), tmp_path, consolidated=False)
    assert "no .zmetadata found, consolidated metadata expected" in errors


def test_coordinates_in_single_precision_pass_within_the_tolerance(tmp_path):
    errors, _ = findings(axis("longitude", lambda x: x.astype(np.float32))(make()), tmp_path)
    assert errors == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: data.isel(time=slice(0, 7)), "lead_day_index: 7 leads found, 10"),
        (lambda data: data.astype(np.float64), "thetao: type float64 found, float32 expected"),
        (lambda data: data.drop_attrs(), "depth: no standard_name found, 'depth' expected"),
        (lambda data: data.fillna(0.0), "zos: a value in every cell found, NaN on land expected"),
    ],
    ids=["seven leads", "double precision", "bare coordinates", "land filled"],
)
def test_what_costs_little_is_a_warning(change, expected, tmp_path):
    _, warnings = findings(change(make()), tmp_path)
    assert expected in warnings


def test_large_chunks_are_a_warning(tmp_path):
    _, warnings = findings(make(), tmp_path, whole=True)
    assert "thetao: chunks of 10 x 6 x 9 x 12 found, one day and one level a chunk" in warnings


def test_starts_other_than_the_official_are_a_warning(tmp_path):
    folder = tmp_path / "all"
    for start in ("2024-01-02", "2024-01-09"):
        save(make(start=start), folder / f"{start.replace('-', '')}.zarr", whole=True)
    found = validate(folder)
    assert found.errors == []
    warnings = "\n".join(found.warnings)
    assert "2024-01-02 and 1 more found, Wednesdays from 2024-01-03" in warnings
    assert "these look like days of analysis" in warnings
    assert "0 of the 52 official starts found" in warnings


def test_stores_on_other_grids_are_an_error(tmp_path):
    folder = tmp_path / "all"
    save(make(), folder / "20240103.zarr")
    save(make(start="2024-01-10").isel(latitude=slice(1, None)), folder / "20240110.zarr")
    assert "latitude of 2024-01-10 differs from that of 2024-01-03" in validate(folder).errors[0]


def test_the_same_finding_in_many_stores_is_one_line(tmp_path):
    folder = tmp_path / "all"
    for start in ("2024-01-03", "2024-01-10", "2024-01-17"):
        save(
            make(start=start).drop_vars("so"), folder / f"{start.replace('-', '')}.zarr", whole=True
        )
    errors = validate(folder).errors
    assert len(errors) == 1
    assert errors[0].startswith("20240103.zarr and 2 more: so: no variable found")


def ocean_mask():
    """All ocean but the three cells that are land in `make`."""
    ocean = np.ones((7, LAT.size, LON.size), bool)
    ocean[:, 0, :3] = False
    coords = {"depth": [*DEPTHS, 643.56677], "latitude": LAT, "longitude": LON}
    return xr.DataArray(ocean, coords=coords, dims=tuple(coords), name="ocean_mask")


def test_ocean_without_values_is_found_with_a_mask_or_a_reference(tmp_path):
    gaps = make()
    for name in gaps.data_vars:
        gaps[name][..., 3, 4:8] = np.nan
    path = save(gaps, tmp_path / "20240103.zarr", whole=True)
    part = (
        4
        * np.cos(np.deg2rad(LAT[3]))
        / (12 * np.cos(np.deg2rad(LAT)).sum() - 3 * np.cos(np.deg2rad(LAT[0])))
    )
    expected = f"thetao at 500m: {part:.3%} of the ocean without values found"
    reference = open_forecasts(
        save(make(), tmp_path / "reference" / "20240103.zarr", whole=True).parent
    )
    for given in ({"mask": ocean_mask()}, {"reference": reference}):
        errors = validate(path, **given).errors
        assert len(errors) == 4 * 6 + 1
        assert any(expected in line for line in errors)
        assert validate(reference_path(tmp_path), **given).errors == []
    assert validate(path).errors == []
    assert "values missing at sea stay unseen" in "\n".join(validate(path).warnings)


def reference_path(tmp_path):
    return tmp_path / "reference" / "20240103.zarr"


def test_a_few_cells_at_the_coast_are_a_warning(tmp_path):
    gaps = make()
    for name in gaps.data_vars:
        gaps[name][..., 3, 4] = np.nan
    found = validate(save(gaps, tmp_path / "20240103.zarr", whole=True), mask=ocean_mask())
    assert found.errors == []
    assert "zos at surface: 0.9" in "\n".join(found.warnings)


def test_one_store_of_all_starts_is_validated_too(cases, tmp_path):
    data, _, _ = cases.forecasts("box")
    path = tmp_path / "all.zarr"
    data.to_zarr(path, zarr_format=2, consolidated=True)
    found = validate(path)
    assert found.errors == []
    assert from_dataset(data, "x").starts[0].isoformat() == "2024-01-03"
    broken = data.assign_coords(lead_day_index=np.arange(1, 5))
    broken.to_zarr(tmp_path / "broken.zarr", zarr_format=2, consolidated=True)
    assert "lead_day_index: 1 to 4 found, 0 to 3" in validate(tmp_path / "broken.zarr").errors[0]


def test_a_store_without_a_date_in_its_name_is_an_error(tmp_path):
    errors, _ = findings(make(), tmp_path, name="forecast.zarr")
    assert "a store named YYYYMMDD.zarr by its first forecast day" in errors


def test_the_command_prints_a_line_a_finding_and_ends_with_2(tmp_path, capsys):
    path = save(make().drop_vars(["so", "zos"]), tmp_path / "20240103.zarr")
    assert main(["oceanbench", "validate", str(path)]) == 2
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 2
    assert "20240103.zarr: so: no variable found" in err
    assert all(line.startswith("warning: ") for line in out.splitlines())
    assert main(["oceanbench", "validate", str(save(make(), path))]) == 0
    assert "no errors, 3 warnings" in capsys.readouterr().out


def test_nothing_to_validate_is_told(tmp_path):
    with pytest.raises(UserError, match="no such store or file"):
        validate(tmp_path / "20240103.zarr")
    with pytest.raises(UserError, match="no forecasts found"):
        validate(tmp_path)
    zarr.open_group(tmp_path / "20240103.zarr", mode="w", zarr_format=2)
    assert validate(tmp_path).errors
