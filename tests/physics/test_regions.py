"""A region steps as the part of the globe that it is: one code for both.

`config` and `make_skeleton` come from conftest.py: each property holds for both sets of schemes and
for both forms of the day.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridom.config import SkeletonConfig
from hybridom.grid import Grid
from hybridom.state import Forcing, OceanState

TERMS = ("geostrophic_advection", "planetary", "stretching", "wind_stress", "viscosity")
OFF = dict.fromkeys(TERMS, False)
UNMIXED = {"horizontal_diffusivity": 0.0, "vertical_diffusivity": 0.0}
NO_WIND = Forcing({})


def opened(config=None, **settings):
    base = config or SkeletonConfig()
    return SkeletonConfig(**{**base.model_dump(), "boundaries": "open", **settings})


def part(grid, rows, columns):
    """The grid of a box of cells, from the same numbers."""
    lat_edges, lon_edges = slice(rows.start, rows.stop + 1), slice(columns.start, columns.stop + 1)
    return Grid(
        grid.lat[rows],
        grid.lon[columns],
        grid.lat_bounds[lat_edges],
        grid.lon_bounds[lon_edges],
        grid.depth,
        grid.depth_bounds,
        periodic=False,
    )


# a blob that leaves


def leave(make_skeleton, make_ocean, resolution, mirror=False, **settings):
    """Temperature in a box and in the ring around the globe that it is a part of, day by day.

    Yields:
        Both in the box (1, 1, ny, nx), and the cells of the box.
    """
    grid = Grid.regular(resolution, (-resolution, resolution), (-180, 180), (50.0,))
    columns = slice(int(60 / resolution), int(160 / resolution))
    box = part(grid, slice(0, grid.ny), columns)
    # the flow passes 0.4 of a cell in a substep, and 9 degrees in a day
    config = opened(substeps=int(24 / resolution), scheme="rk3", **UNMIXED, **OFF, **settings)
    cores = [make_skeleton(make_ocean("", grid=g), config) for g in (grid, box)]
    phase = torch.as_tensor((grid.lon + 70) / 30).clamp(-1, 1)
    blob = (torch.cos(0.5 * torch.pi * phase) ** 4).expand(1, 1, grid.ny, grid.nx).clone()
    speed = -12.0 if mirror else 12.0
    fields = [blob, blob[..., columns].clone()]
    if mirror:
        fields = [blob.flip(-1), blob[..., columns].flip(-1)]
    for _ in range(10):
        for n, core in enumerate(cores):
            zero = torch.zeros_like(fields[n])
            state = OceanState(fields[n], zero, zero + speed, zero, zero[:, 0])
            fields[n] = core(state, NO_WIND, NO_WIND).thetao
        seen = fields[0].flip(-1)[..., columns].flip(-1) if mirror else fields[0][..., columns]
        yield seen, fields[1]


@pytest.mark.parametrize("mirror", [False, True], ids=["east", "west"])
def test_a_blob_leaves_as_if_there_were_no_edge(make_ocean, make_skeleton, mirror):
    """Upstream differences see nothing of what lies beyond an edge that the flow leaves through."""
    tops = []
    for whole, region in leave(make_skeleton, make_ocean, 2.0, mirror, advection="upwind"):
        assert (whole - region).abs().max() < 1e-14
        tops.append(float(region.max()))
    assert tops[0] > 0.8 and tops[-1] < 0.02


def test_the_second_order_scheme_is_of_first_order_in_the_cells_of_the_edge(
    make_ocean, make_skeleton
):
    """The slope of a cell without outer neighbour counts as zero; inwards that fades."""
    errors = []
    for resolution in (2.0, 1.0, 0.5):
        days = list(leave(make_skeleton, make_ocean, resolution, advection="tvd"))
        by_column = torch.stack([(whole - region).abs() for whole, region in days]).amax(
            (0, 1, 2, 3)
        )
        errors.append(float(by_column[-1]))
        assert (by_column[-12:-1] < by_column[-11:] / 3).all(), "something came back"
        assert by_column[:-11].max() < 1e-8
        assert float(days[-1][1].max()) < 1e-4 < 0.9 < float(days[0][1].max())
    assert errors[0] < 0.1
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert (abs(slopes - 1) < 0.1).all(), slopes


# one code for both


@pytest.fixture
def cut_out(make_ocean):
    """A globe with many coasts, and a box of its cells with the same state and wind."""
    grid = Grid.regular(6.0, depths=(5.0, 20.0, 60.0))
    bottom = np.random.default_rng(6).integers(-1, 4, grid.shape[1:])
    globe = make_ocean("globe", grid=grid, wet=np.arange(3)[:, None, None] < bottom)
    rows, columns = slice(2, 28), slice(3, 57)
    wet = globe.wet[:, rows, columns].copy()
    box = make_ocean("box", grid=part(globe.grid, rows, columns), wet=wet)
    state, wind = globe.state(6), globe.forcing(6)

    def crop(x):
        return x[..., rows, columns].contiguous()

    return globe, box, state, wind, crop


# cells that a signal from the edge passes in one substep: one of tracers, and one more of pressure
REACH = {"thetao": 1, "so": 1, "zos": 1, "vorticity": 2}


@pytest.mark.parametrize("boundaries", ["open", "closed"])
@pytest.mark.parametrize(
    ("schemes", "stages", "width"),
    [
        ({"scheme": "ab2", "advection": "upwind", "substeps": 1}, 1, 1),
        ({"scheme": "ab2", "advection": "upwind", "substeps": 3}, 3, 1),
        ({"scheme": "rk3", "advection": "tvd", "substeps": 1}, 3, 2),
    ],
    ids=["one", "three", "second-order"],
)
def test_a_box_cut_out_of_the_globe_steps_alike_away_from_its_edges(
    cut_out, make_skeleton, boundaries, schemes, stages, width
):
    globe, box, state, wind, crop = cut_out
    config = opened(boundaries=boundaries, sea_surface="continuity", **schemes)
    whole = vars(make_skeleton(globe, config)(state, wind, wind))
    region = vars(make_skeleton(box, config)(state.map(crop), wind.map(crop), wind.map(crop)))
    for name, x in region.items():
        there = crop(whole[name])
        margin = 1 if name == "zos" else stages * width + (REACH[name] - 1) * 2
        inner = (..., slice(margin, -margin), slice(margin, -margin))
        scale = float(there.abs().max())
        assert (x - there)[inner].abs().max() < 1e-13 * scale, name
        assert there[inner].abs().max() > 0
        assert (x - there).abs().max() > 1e-9 * scale, f"{name} does not see the edge"


def test_no_row_or_column_wraps(make_ocean, config, make_skeleton):
    """What happens at one edge is not felt at the other one; on the globe it is, in longitude."""
    grid = Grid.regular(4.0, (10.0, 58.0), (-60.0, 0.0), (10.0, 100.0))
    box = make_ocean("box", grid=grid)
    short = opened(config, substeps=1)

    def felt(ocean, core, region):
        state, wind = ocean.state(7, batch=1), ocean.forcing(7, batch=1)
        moved = state.map(lambda x: x.clone())
        for _, x in moved.items():
            x[(..., *region)] *= 1.5
        air = wind.map(lambda x: x.clone())
        for x in air.fields.values():
            x[(..., *region)] *= 1.5
        a, b = vars(core(state, wind, wind)), vars(core(moved, air, air))
        return sum((a[n] - b[n]).abs().reshape(-1, ocean.grid.ny, ocean.grid.nx).sum(0) for n in a)

    core = make_skeleton(box, short)
    for region, opposite in (
        ((slice(0, 1), slice(None)), (slice(-3, None), slice(None))),
        ((slice(-1, None), slice(None)), (slice(0, 3), slice(None))),
        ((slice(None), slice(0, 1)), (slice(None), slice(-3, None))),
        ((slice(None), slice(-1, None)), (slice(None), slice(0, 3))),
    ):
        change = felt(box, core, region)
        assert (change[region] > 0).all() and not change[opposite].any()
    globe = make_ocean("aquaplanet")
    core = make_skeleton(globe, short)
    assert felt(globe, core, (slice(None), slice(0, 1)))[:, -1].all()
    assert not felt(globe, core, (slice(0, 1), slice(None)))[-3:].any()
    assert not felt(globe, core, (slice(-1, None), slice(None)))[:3].any()
