"""The configuration refuses what it does not know and resolves what it does."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hybridom.config import (
    STAGES,
    LossConfig,
    NetworkConfig,
    config_hash,
    load,
    load_stage,
    merge,
    narrow,
    write_stage,
)
from hybridom.config.stages import OPTIONAL
from hybridom.config.training import LOSS_PRESETS
from hybridom.errors import UserError

CONFIG = Path(__file__).parents[1] / "config"
DEMO = CONFIG / "demo.yaml"


@pytest.mark.parametrize(
    "path", sorted({*CONFIG.glob("*.yaml")} - {CONFIG / "config.yaml"}), ids=lambda p: p.stem
)
def test_every_committed_file_is_valid(path: Path) -> None:
    assert load(path).experiment == path.stem


@pytest.mark.parametrize(
    ("override", "named", "near"),
    [
        ("training.learning_rte=1", "training.learning_rte", "learning_rate"),
        ("skelton.substeps=3", "skelton", "skeleton"),
        ("networks.ilap.embd=3", "networks.ilap.embd", "embed"),
        ("training.loss.weights.theta=3", "training.loss.weights.theta", "thetao"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(
    override: str, named: str, near: str
) -> None:
    with pytest.raises(UserError) as error:
        load(DEMO, [override])
    message = str(error.value)
    assert f"unknown key '{named}'" in message
    assert f"did you mean '{near}'" in message
    assert "\n" not in message


def test_an_unknown_key_inside_a_list_is_named() -> None:
    with pytest.raises(UserError, match=r"unknown key 'training.curriculum.0.stps'.*'steps'"):
        load(DEMO, ["training.curriculum=[{days: 1, steps: 3, stps: 4}]"])


@pytest.mark.parametrize("text", ["1e-4", "1.0e-4", "1E-4", "0.0001", ".0001"])
def test_every_spelling_of_a_number_is_a_number(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"base: !include {DEMO}\ntraining: {{learning_rate: {text}}}\n")
    assert load(path).training.learning_rate == 1e-4


def test_overrides_win_over_the_file_and_later_ones_over_earlier_ones() -> None:
    config = load(DEMO, ["training.batch=3", "training.batch=5", "figures.dpi=80"])
    assert config.training.batch == 5
    assert config.figures.dpi == 80


def test_merging_keeps_the_neighbours_of_an_overridden_key() -> None:
    assert merge({"a": {"b": 1, "c": 2}}, {"a.b": 3}) == {"a": {"b": 3, "c": 2}}
    assert merge({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}


def test_a_network_of_another_name_keeps_no_size_of_the_one_it_replaces() -> None:
    own = NetworkConfig(name="unet", blocks=3)
    assert load(DEMO, ["networks.state.name=unet", "networks.state.blocks=3"]).networks.state == own
    nested = ["networks={state: {name: unet, blocks: 3}}"]
    assert load(DEMO, nested).networks.state == own
    same = load(DEMO, ["networks.state={name: odm, blocks: 2}"]).networks.state
    assert same == load(DEMO, ["networks.state.blocks=2"]).networks.state
    assert same.embed == load(DEMO).networks.state.embed
    # other sections with a name keep what they have
    assert load(DEMO, ["grid.name=elsewhere"]).grid.resolution == load(DEMO).grid.resolution


@pytest.mark.parametrize("preset", LOSS_PRESETS)
def test_a_loss_preset_gives_defaults_only(preset: str) -> None:
    loss = LossConfig.model_validate({"preset": preset})
    expected = LossConfig().model_dump() | {"preset": preset} | LOSS_PRESETS[preset]
    expected["weights"] = LossConfig().weights.model_dump() | expected["weights"]
    assert loss.model_dump() == expected
    changed = LossConfig.model_validate(
        {"preset": preset, "kind": "mae", "weights": {"zos": 3}, "gradient": 0.7}
    )
    assert (changed.kind, changed.weights.zos, changed.gradient) == ("mae", 3.0, 0.7)
    assert changed.weights.uo == loss.weights.uo
    # the resolved form, which is what a stage reads, means the same
    assert LossConfig.model_validate(changed.model_dump()) == changed


def test_an_included_file_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("base: !include nowhere.yaml\n")
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        load(path)


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("experiment: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(UserError, match="not valid YAML"):
        load(path)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["periods.test.start=2003-06-01"], "periods overlap"),
        (["twin.end=2004-06-01"], "twin simulates"),
        (["forecast.days=200"], "outside periods.test"),
        (["figures.start=2004-03-02"], "no start date of forecast"),
        (["grid.resolution=7"], "no multiple of resolution"),
        (["source.kind=files", "source.ocean_dir=null"], "needs ocean_dir and forcing_dir"),
        (["periods.train.end=2000-01-01"], "lies before start"),
        (["training.batch=0"], "greater than or equal to 1"),
        (["training.learning_rate=.inf"], "finite"),
        (["training.validation.leads=[5, 1]"], "ascend"),
        (["training.loss.preset=sharpest"], "'published', 'tendency'"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        load(DEMO, overrides)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_the_same_sections_from_both_kinds_of_file(
    tmp_path: Path, stage: str
) -> None:
    config = load(DEMO)
    path = tmp_path / "stage.yaml"
    write_stage(config, stage, path)
    assert set(yaml.safe_load(path.read_text())) == set(STAGES[stage]) - set(OPTIONAL)
    whole, part = load_stage(DEMO, stage), load_stage(path, stage)
    assert config_hash(whole) == config_hash(part) == config_hash(narrow(config, stage))


def test_a_stage_cannot_see_the_sections_of_another() -> None:
    stage = load_stage(DEMO, "figures")
    with pytest.raises(AttributeError, match="not given section 'training'"):
        _ = stage.training


def test_a_plot_option_changes_the_figures_and_the_page_alone() -> None:
    before, after = load(DEMO), load(DEMO, ["figures.dpi=77"])
    changed = {s for s in STAGES if config_hash(narrow(before, s)) != config_hash(narrow(after, s))}
    assert changed == {"figures", "page"}


def test_the_loss_changes_the_training_stage_alone() -> None:
    before, after = load(DEMO), load(DEMO, ["training.loss.kind=mae"])
    changed = {s for s in STAGES if config_hash(narrow(before, s)) != config_hash(narrow(after, s))}
    assert changed == {"train"}
