"""Conservative regridding against the Climate Data Operators, an independent implementation."""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pytest
import xarray as xr

from hybridom.data.raw.packed import PackedField
from hybridom.data.regrid import FusedRegridder, Regridder
from hybridom.data.regrid.conservative import node_edges
from hybridom.grid import Grid

pytestmark = pytest.mark.skipif(shutil.which("cdo") is None, reason="cdo is not installed")

SCALE, OFFSET = 7.32444226741791e-4, 21.0
FILL = -32767
WORLD = {
    "lat": np.arange(-80.0, 90.1, 1.0),
    "lon": np.arange(-180.0, 180.0, 1.0),
    "grid": Grid.regular(5.0),
}
TWELFTH = {  # a regional part of GLORYS12V1's grid
    "lat": 30.0 + np.arange(121) / 12.0,
    "lon": -50.0 + np.arange(181) / 12.0,
    "grid": Grid.regular(0.5, lat=(30.5, 39.5), lon=(-49.5, -35.5)),
}


def bounds(edges):
    return np.stack([edges[:-1], edges[1:]], axis=-1)


def write_source(path, lat, lon, values):
    """Values (lat, lon), NaN on land, with cells half-way between nodes and half rows at poles."""
    edges = np.clip(node_edges(lat), -90.0, 90.0), node_edges(lon)
    ds = xr.Dataset(
        {
            "field": (("lat", "lon"), values),
            "lat_bnds": (("lat", "bnds"), bounds(edges[0])),
            "lon_bnds": (("lon", "bnds"), bounds(edges[1])),
        },
        coords={
            "lat": ("lat", lat, {"units": "degrees_north", "bounds": "lat_bnds"}),
            "lon": ("lon", lon, {"units": "degrees_east", "bounds": "lon_bnds"}),
        },
    )
    ds.to_netcdf(path, encoding={"field": {"_FillValue": -1e30}})


def write_target(path, grid):
    lines = ["gridtype = lonlat", f"xsize = {grid.nx}", f"ysize = {grid.ny}"]
    for name, centres, edges in (
        ("x", grid.lon, grid.lon_bounds),
        ("y", grid.lat, grid.lat_bounds),
    ):
        lines.append(f"{name}vals = " + " ".join(f"{v:.12g}" for v in centres))
        lines.append(f"{name}bounds = " + " ".join(f"{v:.12g}" for v in bounds(edges).ravel()))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def remapcon(folder, source, normalisation):
    """The field by `cdo remapcon`: a mean over wet area (fracarea) or over the cell (destarea)."""
    write_source(folder / "source.nc", source["lat"], source["lon"], source["values"])
    write_target(folder / "target.txt", source["grid"])
    out = folder / f"{normalisation}.nc"
    subprocess.run(
        ["cdo", "-s", "-b", "F64", f"remapcon,{folder}/target.txt", folder / "source.nc", out],
        env={**os.environ, "CDO_REMAP_NORM": normalisation, "REMAP_AREA_MIN": "0"},
        check=True,
        capture_output=True,
    )
    with xr.open_dataset(out) as ds:
        return ds["field"].values


@pytest.fixture(params=[WORLD, TWELFTH], ids=["1 to 5 degrees", "twelfth to half a degree"])
def source(request):
    """Packed values with land of all sizes, down to single cells."""
    lat, lon = request.param["lat"], request.param["lon"]
    rng = np.random.default_rng(0)
    wet = rng.random((1, lat.size, lon.size)) > 0.02
    wet[:, lat.size // 3 : lat.size // 2, lon.size // 5 : lon.size // 2] = False
    wet[:, :, lon.size // 2 : lon.size // 2 + 9] = False
    wet[:, lat.size // 2 :, lon.size * 3 // 4 :] = True
    values = 12.0 + 8.0 * np.cos(np.radians(3.0 * lat))[:, None] + rng.normal(size=wet.shape)
    raw = np.where(wet, np.round((values - OFFSET) / SCALE), FILL).astype(np.int16)
    packed = PackedField(raw, SCALE, OFFSET, (float(FILL),))
    return {**request.param, "wet": wet, "packed": packed, "values": packed.unpack()[0]}


def test_means_over_wet_area_are_those_of_cdo_inside_and_at_coasts(tmp_path, source):
    expected = remapcon(tmp_path, source, "fracarea")
    axes = source["lat"], source["lon"], source["grid"], source["wet"]
    exact = Regridder(*axes)
    found = exact(source["values"][None])[0]
    fused = FusedRegridder(*axes)(source["packed"], slice(0, 1)).values[0]
    fraction = exact.wet_fraction[0]
    inside, coast = fraction > 1.0 - 1e-9, (fraction > 0) & (fraction <= 1.0 - 1e-9)
    assert inside.sum() > 50
    assert coast.sum() > 50
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    for where in (inside, coast):
        np.testing.assert_allclose(found[where], expected[where], rtol=1e-9)
        np.testing.assert_allclose(fused[where], expected[where], rtol=1e-5)


def test_wet_fractions_are_those_of_cdo(tmp_path, source):
    ones = {**source, "values": np.where(source["wet"][0], 1.0, np.nan)}
    expected = np.nan_to_num(remapcon(tmp_path, ones, "destarea"))
    exact = Regridder(source["lat"], source["lon"], source["grid"], source["wet"])
    np.testing.assert_allclose(exact.wet_fraction[0], expected, rtol=1e-5, atol=1e-9)
