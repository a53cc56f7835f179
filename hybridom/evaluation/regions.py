"""Regions: which cells count where scores are taken, and by how much."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from hybridom.errors import UserError
from hybridom.evaluation.kernels import Runs, runs_of
from hybridom.grid import Grid
from hybridom.masks import cells_to_open_edge

GLOBAL = "global"
EDGES, INTERIOR = "edges", "interior"
Box = Sequence[float]


class NamedRegion(NamedTuple):
    """A region that is known by name.

    Attributes:
        box: (south, north, west, east) in degrees, as of `inside_box`.
        source: Where the box comes from, or what it is meant to hold.
    """

    box: tuple[float, float, float, float]
    source: str


# A box holds whatever sea lies in it: `north_atlantic` a corner of the Pacific at Panama, say.
# Where a source is a publication the box is the published one; the others are definitions made
# here, wide enough for the path of a current and its eddies.
NAMED: dict[str, NamedRegion] = {
    "tropics": NamedRegion((-20, 20, -180, 180), "WMO-No. 485, appendix 2.2.34"),
    "northern_extratropics": NamedRegion((20, 90, -180, 180), "WMO-No. 485, appendix 2.2.34"),
    "southern_extratropics": NamedRegion((-90, -20, -180, 180), "WMO-No. 485, appendix 2.2.34"),
    "arctic": NamedRegion((60, 90, -180, 180), "WMO-No. 485, appendix 2.2.34, northern polar"),
    "antarctic": NamedRegion((-90, -60, -180, 180), "WMO-No. 485, appendix 2.2.34, southern polar"),
    "southern_ocean": NamedRegion((-90, -40, -180, 180), "definition: south of 40S"),
    "antarctic_circumpolar": NamedRegion(
        (-65, -45, -180, 180), "definition: latitudes of the fronts of the current"
    ),
    "north_atlantic": NamedRegion((0, 65, -80, 0), "definition: equator to 65N"),
    "south_atlantic": NamedRegion((-40, 0, -65, 20), "definition: equator to 40S"),
    "north_pacific": NamedRegion((0, 65, 120, -100), "definition: equator to 65N"),
    "south_pacific": NamedRegion((-40, 0, 150, -70), "definition: equator to 40S"),
    "indian_ocean": NamedRegion((-40, 30, 20, 120), "definition: 40S to the northern coasts"),
    "mediterranean": NamedRegion((30, 46, -5.5, 36.5), "definition: Gibraltar to the Levant"),
    "ibi": NamedRegion(
        (26.17, 56.08, -19.08, 5.08), "Iberia, Biscay, Ireland as in OceanBench 0.6.1"
    ),
    "gulf_stream": NamedRegion((30, 48, -80, -40), "definition: Cape Hatteras to the Grand Banks"),
    "kuroshio": NamedRegion((25, 42, 125, 170), "definition: with its extension"),
    "agulhas": NamedRegion((-45, -30, 10, 45), "definition: with retroflection and return"),
    "brazil_malvinas": NamedRegion((-50, -30, -65, -40), "definition: the confluence"),
    "equatorial_pacific": NamedRegion((-5, 5, 140, -80), "definition: 5S to 5N"),
    "nino12": NamedRegion((-10, 0, -90, -80), "Trenberth 1997, BAMS 78, 2771"),
    "nino3": NamedRegion((-5, 5, -150, -90), "Trenberth 1997, BAMS 78, 2771"),
    "nino34": NamedRegion((-5, 5, -170, -120), "Trenberth 1997, BAMS 78, 2771"),
    "nino4": NamedRegion((-5, 5, 160, -150), "Trenberth 1997, BAMS 78, 2771"),
    "dipole_west": NamedRegion((-10, 10, 50, 70), "Saji et al. 1999, Nature 401, 360"),
    "dipole_east": NamedRegion((-10, 0, 90, 110), "Saji et al. 1999, Nature 401, 360"),
}


@dataclass(frozen=True)
class Regions:
    """All regions on one grid.

    Attributes:
        names: Names (nr,); the first is `global`, every wet cell of the grid.
        area: Cell area in m2 (ny, nx), the product of a factor by row and one by column.
        wet: bool (nz, ny, nx).
        thickness: Layer thickness (nz,) in m, for pooling levels by volume.
        inside: bool (nr, ny, nx), whether a cell, wet or not, lies in a region.
    """

    names: tuple[str, ...]
    area: np.ndarray
    wet: np.ndarray
    thickness: np.ndarray
    inside: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """Cell area in m2 where a cell is wet and inside, else 0: (nr, nz, ny, nx), made anew."""
        return (self.inside[:, None] & self.wet[None]) * self.area

    @cached_property
    def surface_weights(self) -> np.ndarray:
        """Cell area in m2 where the topmost level is wet and inside, else 0: (nr, ny, nx)."""
        return (self.inside & self.wet[0]) * self.area

    @cached_property
    def band(self) -> np.ndarray:
        """Area of the first cell of each row (ny,), m2."""
        return np.ascontiguousarray(self.area[:, 0])

    @cached_property
    def labels(self) -> np.ndarray:
        """(ny, nx) number of the combination of regions and width of column of a cell."""
        return self._combinations[0]

    @cached_property
    def members(self) -> np.ndarray:
        """float64 (nr, labels), the area over `band` where a label's cells lie in a region."""
        return self._combinations[1]

    @cached_property
    def runs(self) -> Runs:
        """Runs of wet cells of one label, by which the compiled loops go."""
        return runs_of(self.wet, self.labels)

    @cached_property
    def total(self) -> np.ndarray:
        """Sum of the weights (nr, nz), m2."""
        nz, ny, _ = self.wet.shape
        row = np.repeat(np.arange(nz * ny), np.diff(self.runs.first))
        area = (self.runs.stop - self.runs.start) * self.band[row % ny]
        labels = self.members.shape[1]
        place = row // ny * labels + self.runs.label
        by_label = np.bincount(place, area, nz * labels).reshape(nz, labels)
        return np.einsum("rl,zl->rz", self.members, by_label)

    @cached_property
    def _combinations(self) -> tuple[np.ndarray, np.ndarray]:
        # Widths that differ by no more than round-off are the same.
        width = self.area[0] / self.area[0, 0]
        _, columns = np.unique(np.round(width, 12), return_inverse=True)
        labels = np.broadcast_to(columns, self.area.shape)
        for cells in self.inside:
            _, labels = np.unique(2 * labels + cells, return_inverse=True)
            labels = labels.reshape(self.area.shape)
        _, first = np.unique(labels, return_index=True)
        inside = self.inside.reshape(len(self.names), -1)[:, first]
        return labels, inside * width[first % width.size]


def inside_box(lat: np.ndarray, lon: np.ndarray, box: Box) -> np.ndarray:
    """Which cell centres lie in a box.

    Args:
        lat: Cell centres (ny,) in degrees north.
        lon: Cell centres (nx,) in degrees east, in any range.
        box: (south, north, west, east) in degrees, edges included. The box runs eastwards from
            `west` to `east`, across the date line where `east` is the smaller; a box of 360
            degrees or more holds every longitude.

    Returns:
        bool (ny, nx).
    """
    south, north, west, east = box
    rows = (lat >= south) & (lat <= north)
    if east - west >= 360.0:
        columns = np.ones(lon.shape, bool)
    else:
        columns = (lon - west) % 360.0 <= (east - west) % 360.0
    return rows[:, None] & columns[None, :]


def region_weights(
    grid: Grid,
    wet: np.ndarray,
    boxes: Mapping[str, Box],
    named: Sequence[str] = (),
    edges: int = 0,
) -> Regions:
    """The whole grid, the band along its open edges, every box and every region by name.

    Args:
        grid: The model grid.
        wet: bool (nz, ny, nx).
        boxes: Name -> (south, north, west, east) in degrees.
        named: Names of `NAMED`; they follow the boxes.
        edges: Cells of the band; with 0 there are neither `edges` nor `interior`.

    Raises:
        UserError: A box is named as one of the others; a name is unknown; a region holds no wet
            cell.
    """
    _require_own_names(boxes)
    surface, inside = wet.any(axis=0), {GLOBAL: np.ones((grid.ny, grid.nx), bool)}
    if edges:
        band = edge_band(grid, wet, edges)
        inside |= {EDGES: band, INTERIOR: ~band}
    wanted = {f"regions.{name}": (name, tuple(box)) for name, box in boxes.items()}
    for name in named:
        if name in boxes:
            raise UserError(
                f"evaluation.named_regions: {name} is also a box of evaluation.regions; expected "
                "each name once, rename the box or take the name out"
            )
        wanted[f"named_regions.{name}"] = (name, named_box(name))
    for key, (name, box) in wanted.items():
        cells = inside_box(grid.lat, grid.lon, box)
        if not (cells & surface).any():
            raise UserError(
                f"evaluation.{key}: no wet cell of the grid lies in {list(box)}; expected "
                "[south, north, west, east] in degrees, correct the box or take it out"
            )
        inside[name] = cells
    area = np.broadcast_to(grid.area, (grid.ny, grid.nx))
    return Regions(tuple(inside), area, wet, np.asarray(grid.dz), np.stack(list(inside.values())))


def edge_band(grid: Grid, wet: np.ndarray, cells: int) -> np.ndarray:
    """Which cells lie near an open edge of the grid, as the sponge counts.

    Args:
        grid: The grid.
        wet: bool (nz, ny, nx).
        cells: Width of the band in cells, the outermost ones included.

    Returns:
        bool (ny, nx); land may lie in it.

    Raises:
        UserError: No wet cell lies in the band, or all of them do.
    """
    surface = wet.any(axis=0)
    away = cells_to_open_edge(grid, wet[0])
    farthest = away[surface].max()
    if not np.isfinite(away).any():
        raise UserError(
            f"evaluation.edges {cells}: none of the {surface.sum()} wet columns lies near an open "
            f"edge, the grid of {grid.ny} x {grid.nx} cells has none; expected ocean at an edge "
            "that is neither pole nor seam, set evaluation.edges to 0"
        )
    if farthest < cells:
        raise UserError(
            f"evaluation.edges {cells}: all {surface.sum()} wet columns lie in the band, the "
            f"innermost {farthest:g} cells from an open edge; expected some farther away, set it "
            f"to {farthest:g} at most"
        )
    return np.asarray(away < cells)


def _require_own_names(boxes: Mapping[str, Box]) -> None:
    kept = {
        GLOBAL: "the whole grid, which is always scored",
        EDGES: "the band along open edges (evaluation.edges)",
        INTERIOR: "all but the band along open edges (evaluation.edges)",
    }
    for name, what in kept.items():
        if name in boxes:
            raise UserError(
                f"evaluation.regions.{name}: this name is kept for {what}; expected another name, "
                "rename the box"
            )


def named_box(name: str) -> tuple[float, float, float, float]:
    """The box of a region that is known by name.

    Raises:
        UserError: There is none of that name.
    """
    if name == GLOBAL:
        raise UserError(
            f"evaluation.named_regions: {GLOBAL} is always scored; expected other names, take it "
            "out"
        )
    if name not in NAMED:
        near = difflib.get_close_matches(name, NAMED, n=1, cutoff=0.0)[0]
        raise UserError(
            f"evaluation.named_regions: {name!r} is unknown, did you mean {near}? Known are "
            f"{', '.join(sorted(NAMED))}"
        )
    return NAMED[name].box
