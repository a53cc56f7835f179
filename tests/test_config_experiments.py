"""Several experiments in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridom.config import differences, load, load_experiments
from hybridom.errors import UserError

CONFIG = Path(__file__).parents[1] / "config"
DEMO, OTHER = CONFIG / "demo.yaml", CONFIG / "ablations" / "network_only.yaml"


def test_one_file_is_one_experiment_as_it_stands():
    assert load_experiments([DEMO]) == {"demo": load(DEMO)}


def test_each_file_is_combined_with_each_seed():
    made = load_experiments([DEMO, OTHER], ["training.batch=3"], [4, 7])
    names = ["demo_seed4", "demo_seed7", "ablation_network_only_seed4"]
    assert list(made) == [*names, "ablation_network_only_seed7"]
    assert {config.training.batch for config in made.values()} == {3}
    for name, config in made.items():
        assert config.experiment == name
        assert name.endswith(f"_seed{config.training.seed}")
    expected = load(OTHER, ["training.batch=3", "training.seed=7", "experiment=x"])
    last = made["ablation_network_only_seed7"]
    assert last.model_copy(update={"experiment": "x"}) == expected


@pytest.mark.parametrize(
    ("files", "overrides", "seeds", "message"),
    [
        ([DEMO, DEMO], [], [], "'demo' is that of .*demo.yaml too"),
        ([DEMO], [], [1, 1], "'demo_seed1' is that of"),
        ([DEMO, OTHER], ["experiment=same"], [], "'same' is that of"),
        ([DEMO, CONFIG / "test.yaml"], [], [], "test.yaml: source.ocean_dir is .*, in .*demo.yaml"),
    ],
)
def test_experiments_that_get_into_each_others_way_are_refused(files, overrides, seeds, message):
    with pytest.raises(UserError, match=message):
        load_experiments(files, overrides, seeds)


def test_experiments_need_the_same_number_of_processes(tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(f"base: !include {DEMO}\nexperiment: other\ntraining: {{ranks: 2}}\n")
    with pytest.raises(UserError, match=r"other.yaml: training.ranks is 2, in .*demo.yaml 4"):
        load_experiments([DEMO, other])


def test_differences_name_dotted_keys():
    left = {"a": {"b": 1, "c": {"d": [1]}}, "e": 5}
    right = {"a": {"b": 1, "c": {"d": [2]}}, "f": 6}
    expected = [("a.c.d", [1], [2]), ("f", "absent", 6), ("e", 5, "absent")]
    assert list(differences(left, right)) == expected
    assert list(differences(left, left)) == []
