"""What cannot run is refused by the command, in one line with the number that breaks the limit."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from hybridom import checkpoint, cli
from hybridom.conditions import Conditions
from hybridom.errors import UserError
from hybridom.grid import read_grid
from hybridom.normalisation import read_statistics
from hybridom.state import Forcing, OceanState
from hybridom.stepper import HybridOM
from tests.training import world as tiny

START = dt.date(2001, 2, 25)


@pytest.fixture
def world(tmp_path: Path):
    """A tiny ocean of its own, which a test may damage."""
    return tiny.make_world(tmp_path)


@pytest.fixture
def refused(world, capfd: pytest.CaptureFixture[str]):
    """Run a command that is expected to be refused, and return its one line."""

    def run(command: str, *overrides: str) -> str:
        options = [word for text in overrides for word in ("--set", text)]
        start = ["--start", str(START)] if command == "forecast" else []
        capfd.readouterr()
        status = cli.main([command, "--config", str(world.file), *start, *options])
        lines = [
            x for x in capfd.readouterr().err.splitlines() if x.startswith("hybridom: error: ")
        ]
        assert status == cli.EXIT_USER_ERROR
        assert len(lines) == 1
        return lines[0].removeprefix("hybridom: error: ").replace(str(world.root), "")

    return run


def build(config, layout) -> HybridOM:
    """An untrained model of the stores of a world."""
    grid, wet = read_grid(layout.grid_file)
    statistics = read_statistics(layout.statistics_file, config.forcing_names)
    return HybridOM(grid, wet, statistics, config.forcing_names, config.skeleton, config.networks)


def untrained(world, *overrides: str) -> None:
    """Write the checkpoint of an untrained model."""
    config, layout = world.config(*overrides)
    plain = {"skeleton": config.skeleton.model_dump(), "networks": config.networks.model_dump()}
    checkpoint.save(layout.checkpoint, checkpoint.pack(build(config, layout), plain))


def spoil(store: Path, name: str, cells: tuple[slice | int, ...], value: float) -> None:
    """Put a value into cells of a store."""
    zarr.open_group(store, mode="r+")[name][cells] = value


def alter_mask(path: Path, cells: tuple[slice | int, ...], value: int) -> None:
    """Put a value into cells of the wet mask of a grid file."""
    with xr.open_dataset(path) as ds:
        ds = ds.load()
    ds["wet"].values[cells] = value
    ds.to_netcdf(path)


def test_an_unstable_time_step(world, refused):
    limit = (
        "scheme ab2 is stable up to 0.455: set skeleton.substeps to 24 or more (now 2), or lower "
        "diffusivity and viscosity"
    )
    mixing = "skeleton.horizontal_diffusivity=1e8"
    assert refused("train", mixing) == (
        "skeleton: the transport number of tracers is 5.3 (Courant plus diffusion) at latitude 50, "
        f"longitude -30, depth 10 m; {limit}"
    )
    untrained(world, mixing)
    assert refused("forecast") == (
        "skeleton: the transport number of tracers is 5.3 (Courant plus diffusion) at latitude "
        f"-50, longitude -70, depth 10 m; {limit}"
    )


@pytest.mark.parametrize("networks", [(), ("networks.ilap.name=none", "networks.state.name=none")])
def test_a_grid_without_wet_cells(world, refused, networks):
    _, layout = world.config()
    alter_mask(layout.grid_file, (slice(None),), 0)
    assert refused("train", *networks) == (
        "/resources/tiny/grid.nc: wet mask: no ocean cell among 324; lower grid.wet_threshold or "
        "move the box"
    )


def test_a_mask_that_does_not_fit(world, refused):
    untrained(world)
    _, layout = world.config()
    alter_mask(layout.grid_file, (slice(2), 1, slice(4, 7)), 0)
    assert refused("train") == (
        "/resources/tiny/grid.nc: wet mask: ocean below land at level 2, row 1, column 4 (from 0; "
        "3 cells); expected columns that are wet from the surface down"
    )
    assert refused("forecast") == (
        "/results/tiny/train/checkpoint.pt: trained on another wet mask than "
        "/resources/tiny/grid.nc holds (6 cells differ); train again or restore the mask"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_initial_state_that_is_not_finite(world, refused, value):
    untrained(world)
    _, layout = world.config()
    day = (START - dt.date(2001, 1, 1)).days
    spoil(layout.state_store(2001), "so", (day, 1, 2, slice(8, 10)), value)
    assert refused("forecast") == (
        "/resources/tiny/state/2001.zarr: variable so has wet cells without value from entry 55 on "
        "(2 in what was read); expected the mask of /resources/tiny/grid.nc: prepare it again"
    )
    spoil(layout.state_store(2001), "zos", (0, 2, 8), value)
    assert refused("train", "training.cache=none") == (
        "/resources/tiny/state/2001.zarr: variable zos has wet cells without value from entry 0 on "
        "(1 in what was read); expected the mask of /resources/tiny/grid.nc: prepare it again"
    )


def test_a_forcing_that_is_not_finite(world, refused):
    untrained(world)
    _, layout = world.config()
    day = (START - dt.date(2001, 1, 1)).days
    spoil(layout.forcing_store(2001), "u10", (day, 2, 8), np.nan)
    assert refused("forecast") == (
        "/resources/tiny/forcing/2001.zarr: variable u10 has wet cells without value from entry 55 "
        "on (1 in what was read); expected the mask of /resources/tiny/grid.nc: prepare it again"
    )


def test_a_sponge_that_does_not_fit(world, refused):
    opened = "skeleton.boundaries=open"
    file = "/config.yaml"
    assert refused("train", "skeleton.sponge.width=2") == (
        f"{file}: key 'skeleton': sponge.width 2: walls need no sponge; set boundaries to open, or "
        "sponge.width to 0"
    )
    assert refused("train", opened, "skeleton.sponge.width=4") == (
        f"{file}: skeleton.sponge.width 4: more than half of the 6 rows of the grid; set it to 3 "
        "or less"
    )
    assert refused(
        "train", opened, "skeleton.sponge.width=2", "grid.lat=[-90, 90]", "grid.resolution=10"
    ) == (
        f"{file}: skeleton.sponge.width 2: a grid that goes around the globe from pole to pole has "
        "no edge; set it to 0"
    )
    assert "unknown key 'skeleton.sponge.widht'; did you mean 'width'?" in refused(
        "train", "skeleton.sponge.widht=2"
    )
    assert refused("train", "skeleton.sponge.days=0").startswith(
        f"{file}: key 'skeleton.sponge.days': Input should be greater than 0"
    )


# the same of a model that is used without the commands


@pytest.fixture(scope="session")
def intact(tmp_path_factory: pytest.TempPathFactory):
    """A tiny ocean that is only read."""
    return tiny.make_world(tmp_path_factory.mktemp("intact"))


@pytest.fixture(params=["true", "false"], ids=["skeleton", "networks alone"])
def model(intact, request: pytest.FixtureRequest) -> HybridOM:
    return build(*intact.config(f"skeleton.enabled={request.param}"))


def calm(model: HybridOM) -> tuple[OceanState, Forcing]:
    """A level ocean of one temperature under no wind, two of a batch; land is no number."""
    shape = (2, *model.grid.shape)
    column = torch.where(model.wet, torch.zeros(shape), float("nan"))
    state = OceanState(column + 10, column + 35, column, column, column[:, 0])
    return state, Forcing({name: column[:, 0] for name in model.forcing_names})


def refusal(call, *arguments) -> str:
    with pytest.raises(UserError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_start_that_is_not_finite(model):
    state, forcing = calm(model)
    model.check_start(state, forcing)
    found = (
        "is not finite in 1 ocean cells, the first at latitude -50, longitude -150, depth 10 m; "
        "expected a number in every cell of the wet mask: check the store it comes from and the "
        "grid file"
    )
    for name, value in (("so", float("nan")), ("zos", float("inf"))):
        wrong = getattr(state, name).clone()
        wrong[(1, *(0,) * (wrong.dim() - 3), 0, 1)] = value
        message = refusal(model.check_start, replace(state, **{name: wrong}), forcing)
        assert message == f"initial state: {name} {found}"
    wrong = forcing["v10"].clone()
    wrong[1, 0, 1] = float("nan")
    message = refusal(model.check_start, state, Forcing({**forcing.fields, "v10": wrong}))
    assert message == f"forcing: v10 {found}"


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        (
            "vo",
            lambda x: x[:, :2],
            "vo has shape (2, 2, 6, 18), but the grid needs (..., 3, 6, 18); bring it to the grid "
            "of the model",
        ),
        (
            "zos",
            lambda x: x[..., :1],
            "zos has shape (2, 6, 1), but the grid needs (..., 6, 18); bring it to the grid of the "
            "model",
        ),
        (
            "so",
            lambda x: x.double(),
            "so is torch.float64, but the model computes in torch.float32; convert it with "
            ".to(torch.float32)",
        ),
    ],
)
def test_a_state_of_another_shape_or_type(model, name, change, text):
    state, forcing = calm(model)
    wrong = replace(state, **{name: change(getattr(state, name))})
    assert refusal(model.check_start, wrong, forcing) == f"initial state: {text}"
    day = Conditions(forcing, state, forcing)
    assert refusal(model.step, wrong, day, day) == f"state: {text}"


def test_a_forcing_of_another_shape_or_type(model):
    state, forcing = calm(model)
    short = Forcing({**forcing.fields, "t2m": forcing["t2m"][:, :5]})
    assert refusal(model.check_start, state, short) == (
        "forcing: t2m has shape (2, 5, 18), but the grid needs (..., 6, 18); bring it to the grid "
        "of the model"
    )
    assert refusal(model.check_start, state, forcing.to(torch.float64)) == (
        "forcing: u10 is torch.float64, but the model computes in torch.float32; convert it with "
        ".to(torch.float32)"
    )


def test_currents_that_are_too_fast(intact):
    model = build(*intact.config())
    state, forcing = calm(model)
    # 3 cells in a substep, and the third level, 5 times as thick as the first, rises at a slope
    message = refusal(model.check_start, replace(state, uo=state.uo + 100), forcing)
    assert message == (
        "skeleton: the transport number of tracers is 18.2 (Courant plus diffusion) at latitude "
        "-50, longitude 10, depth 10 m; scheme ab2 is stable up to 0.455: set skeleton.substeps "
        "to 81 or more (now 2), or lower diffusivity and viscosity"
    )


@pytest.mark.parametrize("enabled", [True, False])
def test_a_mask_that_holds_no_model(intact, enabled):
    config, layout = intact.config(f"skeleton.enabled={enabled}")
    sound = build(config, layout)
    wet = sound.wet.numpy()

    def with_mask(mask: np.ndarray) -> HybridOM:
        names, settings = sound.forcing_names, (config.skeleton, config.networks)
        return HybridOM(sound.grid, mask, sound.statistics, names, *settings)

    assert refusal(with_mask, wet[:, 1:]) == (
        "wet mask: shape (3, 5, 18) does not fit the grid's (3, 6, 18)"
    )
    assert refusal(with_mask, np.zeros_like(wet)) == (
        "wet mask: no ocean cell among 324; lower grid.wet_threshold or move the box"
    )
    holes = wet.copy()
    holes[0, 0, :2] = False
    if not enabled:
        with_mask(holes)  # networks alone need no columns
        return
    assert refusal(with_mask, holes) == (
        "wet mask: ocean below land at level 1, row 0, column 0 (from 0; 2 cells); expected "
        "columns that are wet from the surface down"
    )
