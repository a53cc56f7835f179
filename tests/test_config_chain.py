"""What one run makes: a main configuration, its regions and their drivers."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import yaml

from hybridom.config import load, load_experiments
from hybridom.config.chain import (
    Link,
    load_chain,
    path_overrides,
    raw_elsewhere,
    raw_folders,
    training_starts,
)
from hybridom.errors import UserError

CONFIGS = Path(__file__).parents[1] / "config"
REGION = CONFIGS / "test_region.yaml"
RAW = Path("resources/raw/twin_4deg_seed2")


def find(file: Path) -> Path:
    """As the workflow does where nothing of this name lies in the working directory."""
    return file if file.is_absolute() else CONFIGS.parent / file


def chain(*files: Path, overrides: tuple[str, ...] = (), seeds: tuple[int, ...] = ()) -> list[Link]:
    """The chain of configuration files and overrides."""
    return load_chain(files, load_experiments(files, overrides, seeds), find)


def names(links: list[Link]) -> list[list[str]]:
    return [list(link.experiments) for link in links]


@pytest.fixture
def write(tmp_path):
    """Write a configuration that starts from one of config/, and return its path."""

    def written(name: str, base: str, **values: object) -> Path:
        path = tmp_path / f"{name}.yaml"
        text = yaml.safe_dump({"experiment": name} | values)
        path.write_text(f"base: !include {CONFIGS / base}\n{text}")
        return path

    return written


def test_a_configuration_by_itself_is_a_chain_of_one():
    (link,) = chain(CONFIGS / "test.yaml")
    assert list(link.experiments) == ["test"]
    assert raw_elsewhere([link]) == [set()]


def test_a_region_brings_its_driver_whose_grid_reaches_further():
    links = chain(REGION)
    assert names(links) == [["test_region"], ["test_coarse"]]
    assert raw_elsewhere(links) == [{RAW}, set()]


def test_regions_come_before_drivers_and_the_main_one_makes_the_raw_files():
    links = chain(CONFIGS / "test.yaml", overrides=("regions=[config/test_region.yaml]",))
    assert names(links) == [["test"], ["test_region"], ["test_coarse"]]
    assert raw_elsewhere(links) == [set(), {RAW}, {RAW}]


def test_the_default_has_a_region():
    assert names(chain(CONFIGS / "demo.yaml")) == [["demo"], ["demo_region"], ["demo_coarse"]]
    assert names(chain(CONFIGS / "demo_region.yaml")) == [["demo_region"], ["demo_coarse"]]


def test_experiments_of_one_entry_share_a_link():
    entry = "config/demo_region.yaml config/ablations/region_nested.yaml"
    links = chain(CONFIGS / "demo.yaml", overrides=(f"regions=['{entry}']",))
    assert names(links)[1:] == [["demo_region", "demo_region_nested"], ["demo_coarse"]]


def test_one_driver_serves_two_regions(write):
    other = write("other", "test_region.yaml", grid={"name": "other", "lat": [-24, 24]})
    links = chain(CONFIGS / "test.yaml", overrides=(f"regions=[config/test_region.yaml, {other}]",))
    assert names(links) == [["test"], ["test_region"], ["other"], ["test_coarse"]]


def test_the_main_configuration_can_be_the_driver(write):
    driver = {"file": str(CONFIGS / "test.yaml"), "experiment": "test", "grid": "global_12_test"}
    regions = [
        write(name, "test_region.yaml", grid={"name": name}, region={"driver": driver})
        for name in ("one", "two")
    ]
    given = f"regions=[{', '.join(map(str, regions))}]"
    links = chain(CONFIGS / "test.yaml", overrides=(given,))
    assert names(links) == [["test"], ["one"], ["two"]]
    assert raw_elsewhere(links) == [set(), {RAW}, {RAW}]


def test_a_driver_can_be_driven_itself(write):
    driver = {"file": str(REGION), "experiment": "test_region", "grid": "pacific_6_test"}
    inner = write(
        "inner",
        "test_region.yaml",
        grid={"name": "inner", "resolution": 3.0, "lat": [12, 36], "lon": [150, 204]},
        region={"driver": driver},
    )
    links = chain(inner)
    assert names(links) == [["inner"], ["test_region"], ["test_coarse"]]
    assert raw_elsewhere(links) == [{RAW}, {RAW}, set()]


def test_a_driver_whose_files_are_there_is_no_link():
    links = chain(REGION, overrides=("region.driver.file=null",))
    assert names(links) == [["test_region"]]
    assert raw_elsewhere(links) == [set()]


def test_folders_are_those_of_the_main_configuration():
    links = chain(REGION, overrides=("paths.results=elsewhere", "training.batch=7"))
    assert path_overrides(links[0].config)[-1] == "paths.results=elsewhere"
    assert links[1].config.paths == links[0].config.paths
    assert links[1].config.training.batch != 7


def test_forecasts_of_the_driver_over_training_are_made_where_they_are_used():
    trained = [dt.date(2001, 12, 28), dt.date(2002, 1, 1), dt.date(2002, 1, 5)]
    validated = [dt.date(2002, 1, 13)]
    assert training_starts(load(REGION)) == trained + validated
    analyses = load(REGION, ["training.curriculum=[{days: 1, steps: 1}]"])
    assert training_starts(analyses) == validated
    assert training_starts(load(CONFIGS / "test.yaml")) == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("region.driver.experiment=another", "'test_coarse'; make them the same"),
        ("region.driver.grid=another", "'global_12_test_coarse'; make them the same"),
        ("grid.depths=[9.572997, 50]", "level 50 m is none of the driver's 4 levels"),
        ("region.driver.file=config/none.yaml", "none.yaml: cannot read"),
    ],
)
def test_a_driver_that_does_not_fit_is_refused(override, said):
    with pytest.raises(UserError) as error:
        chain(REGION, overrides=(override,))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_box_beyond_the_driver_is_refused(write):
    small = {"name": "small", "lat": [-24, 36], "lon": [120, 240]}
    driver = write("small", "test_coarse.yaml", grid=small)
    given = {"file": str(driver), "experiment": "small", "grid": "small"}
    region = write("region", "test_region.yaml", region={"driver": given})
    with pytest.raises(UserError, match=r"its rows reach from 0 to 48 N, .* -24 to 36 N"):
        chain(region)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"forecast": {"days": 9}}, r"forecast\.days is 10, .* end after 9 days"),
        (
            {"forecast": {"days": 3}, "figures": {"leads": [1]}},
            r"forecast\.days is 10, .* end after 3 days",
        ),
        (
            {"periods": {"train": {"start": "2001-12-30", "end": "2002-01-12"}}},
            r"from 2001-12-28 to 2002-01-12 \(periods\.train\), but 2001-12-28 is in none",
        ),
        (
            {
                "periods": {"test": {"start": "2002-01-18", "end": "2002-01-29"}},
                "forecast": {"last": "2002-01-18"},
            },
            r"2002-01-21 to 2002-01-31 \(its forecast from 2002-01-21\), but 2002-01-30 is in none",
        ),
        ({"twin": {"end": "2002-02-03"}}, r"twin\.end is '2002-02-01', in .*'2002-02-03'"),
    ],
)
def test_a_driver_that_lacks_days_is_refused(write, changes, said):
    driver = write("coarse", "test_coarse.yaml", **changes)
    given = {"file": str(driver), "experiment": "coarse"}
    region = write("region", "test_region.yaml", region={"driver": given})
    with pytest.raises(UserError, match=said):
        raw_elsewhere(chain(region))


def test_forecasts_that_drive_training_are_no_longer_than_the_drivers(write):
    driver = write("coarse", "test_coarse.yaml", forecast={"days": 3}, figures={"leads": [1]})
    given = {"file": str(driver), "experiment": "coarse"}
    short = {"forecast": {"days": 3}, "figures": {"leads": [1]}}
    region = write("region", "test_region.yaml", region={"driver": given}, **short)
    with pytest.raises(UserError, match=r"region\.forecasts\.days is 4, .* end after 3 days"):
        chain(region)
    # forecasts of 5 days fit into no period of validation, and training takes none
    unused = ("region.forecasts.days=5", "training.curriculum=[{days: 1, steps: 1}]")
    assert len(chain(region, overrides=unused)) == 2


def test_what_two_would_both_make_is_refused(write):
    twice = ("regions=[config/test_region.yaml, config/test_region.yaml]",)
    with pytest.raises(UserError, match="experiment 'test_region' is that of"):
        chain(CONFIGS / "test.yaml", overrides=twice)
    same = write("same", "test_region.yaml")
    with pytest.raises(UserError, match=r"grid\.name 'pacific_6_test' .* one entry of regions"):
        chain(CONFIGS / "test.yaml", overrides=(f"regions=[config/test_region.yaml, {same}]",))


def test_a_region_without_driver_is_refused():
    with pytest.raises(UserError, match=r"regions: config/global_05\.yaml has no section"):
        chain(CONFIGS / "test.yaml", overrides=("regions=[config/global_05.yaml]",))


DOWNLOAD = {"source": {"kind": "download"}}


def test_a_driver_fetches_what_its_region_reads(write):
    coarse = write("coarse", "test_coarse.yaml", **DOWNLOAD)
    given = {"file": str(coarse), "experiment": "coarse"}
    region = write("region", "test_region.yaml", region={"driver": given}, **DOWNLOAD)
    links = chain(region)
    folders = {Path(f"resources/raw/{x}") for x in ("glorys12v1", "era5", "glorys12v1_static")}
    assert raw_elsewhere(links) == [folders, set()]
    assert set(raw_folders(links[0].config)) == folders

    own = ("source.forcing_dir=own",)
    assert raw_elsewhere(chain(region, overrides=own))[0] == folders - {Path("resources/raw/era5")}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("forcing=bulk8", "holds no .*, forcing 'bulk8' needs it"),
        ("download.margin=2.0", r"download\.margin is 2\.0, in .* 1\.0"),
        ("forecast.last=2002-01-19", None),
    ],
)
def test_a_driver_that_fetches_something_else_is_refused(write, override, said):
    coarse = write("coarse", "test_coarse.yaml", **DOWNLOAD)
    given = {"file": str(coarse), "experiment": "coarse"}
    region = write("region", "test_region.yaml", region={"driver": given}, **DOWNLOAD)
    links = chain(region, overrides=(override,))
    if said is None:
        assert raw_elsewhere(links)
        return
    with pytest.raises(UserError, match=said):
        raw_elsewhere(links)


def test_a_box_that_is_not_fetched_is_refused(write):
    box = {"name": "atlantic", "lat": [0, 48], "lon": [-72, -24]}
    main = write("atlantic", "test.yaml", grid=box, **DOWNLOAD)
    coarse = write("coarse", "test_coarse.yaml", **DOWNLOAD)
    given = {"file": str(coarse), "experiment": "coarse"}
    region = write("region", "test_region.yaml", region={"driver": given}, **DOWNLOAD)
    links = chain(main, overrides=(f"regions=[{region}]",))
    with pytest.raises(UserError, match=r"fetches into .* do not serve it: its rows"):
        raw_elsewhere(links)
