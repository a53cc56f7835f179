"""States keep names and channels in step; normalisation inverts exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hybridom.errors import UserError
from hybridom.normalisation import KINDS, Normaliser, read_statistics
from hybridom.state import Forcing, OceanState
from hybridom.variables import FORCING_SETS, PROGNOSTIC, VARIABLES, cf_attributes

NZ, NY, NX = 3, 4, 5


def random_state(seed: int = 0, lead: tuple[int, ...] = (2,)) -> OceanState:
    generator = torch.Generator().manual_seed(seed)
    volume = [torch.randn(*lead, NZ, NY, NX, generator=generator) for _ in range(4)]
    return OceanState(*volume, torch.randn(*lead, NY, NX, generator=generator))


def statistics() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    names = (*PROGNOSTIC, *FORCING_SETS["surface3"])
    return {
        f"{n}_{kind}": 0.5 + torch.rand(NZ if VARIABLES[n].has_depth else (), generator=generator)
        for n in names
        for kind in KINDS
    }


def test_channels_go_there_and_back_in_the_order_of_the_table() -> None:
    state = random_state()
    channels = state.channels()
    assert channels.shape == (2, 4 * NZ + 1, NY, NX)
    assert [name for name, _ in state.items()] == list(PROGNOSTIC)
    torch.testing.assert_close(channels[:, NZ : 2 * NZ], state.so, rtol=0, atol=0)
    again = OceanState.from_channels(channels, NZ)
    for name, field in again.items():
        assert torch.equal(field, getattr(state, name))


def test_stack_and_select_are_inverse() -> None:
    states = [random_state(i) for i in range(3)]
    stacked = OceanState.stack(states, dim=1)
    assert stacked.zos.shape == (2, 3, NY, NX)
    for i, state in enumerate(states):
        assert torch.equal(stacked.select(1, i).uo, state.uo)


def test_normalising_a_change_and_back_gives_the_change() -> None:
    normaliser = Normaliser(statistics(), FORCING_SETS["surface3"])
    change = random_state()
    again = normaliser.change(normaliser.tendency(change), NZ)
    for name, field in again.items():
        torch.testing.assert_close(field, getattr(change, name))


def test_each_level_is_scaled_by_its_own_deviation() -> None:
    stats = statistics()
    normaliser = Normaliser(stats, FORCING_SETS["surface3"])
    state, climatology = random_state(0), random_state(1)
    scaled = OceanState.from_channels(normaliser.anomaly(state, climatology), NZ)
    for k in range(NZ):
        expected = (state.vo - climatology.vo)[:, k] / stats["vo_anomaly_std"][k]
        torch.testing.assert_close(scaled.vo[:, k], expected)
    assert normaliser.scale("tendency_std")["zos"].shape == (1, 1)


def test_forcing_channels_follow_the_names_asked_for() -> None:
    forcing = Forcing({n: torch.full((NY, NX), float(i)) for i, n in enumerate("abc")})
    assert forcing.channels(["c", "a"])[:, 0, 0].tolist() == [2.0, 0.0]


def test_missing_statistics_name_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hybridom prepare statistics"):
        read_statistics(tmp_path / "statistics.nc", ["u10"])


def test_every_variable_has_cf_attributes() -> None:
    for name in VARIABLES:
        assert set(cf_attributes(name)) == {"standard_name", "long_name", "units"}
