"""Scores of the cases by the package oceanbench itself, as JSON.

Run it with a Python that has oceanbench 0.6.1:

    python tests/evaluation/oceanbench/make_reference.py tests/evaluation/oceanbench/reference.json

With `--files DIR` the forecasts are read from files, as `test_package.py` writes them: a folder
`challenger` with its challenger.py, a folder `reference` likewise, and `mask.zarr`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import cases
import numpy as np
import xarray as xr
from oceanbench.core import classIV_support
from oceanbench.core.classIV import rmsd_class4_validation
from oceanbench.core.dataset_utils import Variable
from oceanbench.core.derived_quantities import (
    compute_geostrophic_currents,
    compute_mixed_layer_depth,
)
from oceanbench.core.lagrangian_trajectory import (
    deviation_of_lagrangian_trajectories,
    lagrangian_particle_count_for_region,
)
from oceanbench.core.regions import subset_dataset_to_region
from oceanbench.core.rmsd import rmsd

GRIDDED = {
    "rmsd_of_variables": (
        lambda dataset: dataset,
        [
            Variable.SEA_SURFACE_HEIGHT_ABOVE_GEOID,
            Variable.SEA_WATER_POTENTIAL_TEMPERATURE,
            Variable.SEA_WATER_SALINITY,
            Variable.NORTHWARD_SEA_WATER_VELOCITY,
            Variable.EASTWARD_SEA_WATER_VELOCITY,
        ],
    ),
    "rmsd_of_mixed_layer_depth": (compute_mixed_layer_depth, [Variable.MIXED_LAYER_DEPTH]),
    "rmsd_of_geostrophic_currents": (
        compute_geostrophic_currents,
        [
            Variable.GEOSTROPHIC_NORTHWARD_SEA_WATER_VELOCITY,
            Variable.GEOSTROPHIC_EASTWARD_SEA_WATER_VELOCITY,
        ],
    ),
}


def scores(
    challenger: xr.Dataset, reference: xr.Dataset, mask: xr.DataArray, region: str
) -> dict[str, dict[str, dict[str, float]]]:
    """Metric -> row -> column -> score."""
    ours, theirs = (subset_dataset_to_region(x, region) for x in (challenger, reference))
    tables = {
        metric: rmsd(derive(ours), derive(theirs), variables, mask)
        for metric, (derive, variables) in GRIDDED.items()
    }
    number = lagrangian_particle_count_for_region(challenger, ours)
    tables["deviation_of_lagrangian_trajectories"] = deviation_of_lagrangian_trajectories(
        ours, theirs, particle_count=number
    )
    return {metric: json.loads(x.T.to_json(double_precision=15)) for metric, x in tables.items()}


def class4(grid: str, region: str) -> dict[str, dict[str, float]]:
    """Row -> column -> score or count, against observations."""
    challenger, parts = cases.forecasts(grid)[0], []
    days = cases.observations(grid)
    for start in challenger["first_day_datetime"].values:
        for lead in range(cases.LEADS):
            name = str(start.astype("datetime64[D]") + np.timedelta64(lead, "D")).replace("-", "")
            day = days[name].rename(obs="observations").set_coords("time")
            first = ("observations", np.full(day.sizes["observations"], start))
            parts.append(day.assign_coords(first_day_datetime=first))
    # In place of the files that the package fetches; its resolutions are those of its tracks.
    topography = cases.topography(grid)
    classIV_support.load_mean_dynamic_topography = lambda resolution: topography
    classIV_support.get_dataset_resolution = lambda dataset: "any"
    table = rmsd_class4_validation(
        subset_dataset_to_region(challenger, region),
        subset_dataset_to_region(xr.concat(parts, "observations"), region),
        cases.fine_mask(grid),
        GRIDDED["rmsd_of_variables"][1],
    )
    return json.loads(table.T.to_json(double_precision=15))


def from_files(folder: Path) -> tuple[xr.Dataset, xr.Dataset, xr.DataArray]:
    """Challenger, reference and mask of files."""
    both = [
        runpy.run_path(str(folder / part / "challenger.py"))["challenger_dataset"]
        for part in ("challenger", "reference")
    ]
    mask = xr.open_zarr(folder / "mask.zarr")["ocean_mask"].astype(bool).compute()
    return both[0], both[1], mask


def main() -> None:
    """Write the scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--files", type=Path)
    parser.add_argument("--region", default="global")
    args = parser.parse_args()
    version = importlib.metadata.version("oceanbench")
    found: dict[str, object] = {"oceanbench": version}
    if args.files:
        found["files"] = scores(*from_files(args.files), args.region)
    else:
        for grid in cases.GRIDS:
            found[grid] = scores(*cases.forecasts(grid), "global")
            found[f"{grid}, class 4"] = class4(grid, "global")
        found["box in ibi"] = scores(*cases.forecasts("box"), "ibi")
        found["box in ibi, class 4"] = class4("box", "ibi")
    args.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
