"""Statistics of the training period and the scaling of states and forcing by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hybridom.errors import UserError
from hybridom.state import Forcing, OceanState
from hybridom.variables import PROGNOSTIC, VARIABLES

KINDS = ("mean", "std", "anomaly_std", "tendency_std")
Statistics = Mapping[str, Tensor]


def read_statistics(path: Path, forcing_names: Sequence[str]) -> dict[str, Tensor]:
    """Read statistics.nc.

    Returns:
        `<variable>_<kind>` -> float64 tensor, (nz,) where the variable has depth, else a scalar;
        kinds are `mean`, `std`, `anomaly_std` (about the daily climatology) and `tendency_std` (of
        one-day differences). Levels without a wet cell hold mean 0 and deviations 1.

    Raises:
        UserError: The file or a variable in it is missing.
    """
    import numpy as np
    import xarray as xr

    if not path.exists():
        raise UserError(f"{path}: no statistics; make them with `hybridom prepare statistics`")
    found: dict[str, Tensor] = {}
    with xr.open_dataset(path, engine="netcdf4") as ds:
        for name in (*PROGNOSTIC, *forcing_names):
            for kind in KINDS:
                key = f"{name}_{kind}"
                if key not in ds:
                    raise UserError(
                        f"{path}: {key} is missing; run `hybridom prepare statistics` with the "
                        f"forcing set that holds {name}"
                    )
                values = torch.as_tensor(np.asarray(ds[key].values, dtype=np.float64))
                found[key] = torch.nan_to_num(values, nan=0.0 if kind == "mean" else 1.0)
    return found


class Normaliser(nn.Module):
    """Scales states and forcing; its numbers are buffers, saved with the weights.

    Args:
        statistics: As `read_statistics` returns them.
        forcing_names: Order of the forcing channels that the networks see.
    """

    anomaly_std: Tensor
    tendency_std: Tensor
    forcing_std: Tensor

    def __init__(self, statistics: Statistics, forcing_names: Sequence[str]) -> None:
        super().__init__()
        self.forcing_names = tuple(forcing_names)
        for kind in ("anomaly_std", "tendency_std"):
            scale = torch.cat(
                [torch.atleast_1d(statistics[f"{name}_{kind}"]) for name in PROGNOSTIC]
            )
            self.register_buffer(kind, scale.float()[:, None, None])
        forcing = [statistics[f"{name}_anomaly_std"] for name in self.forcing_names]
        self.register_buffer("forcing_std", torch.stack(forcing).float()[:, None, None])

    def anomaly(self, state: OceanState, climatology: OceanState) -> Tensor:
        """(state - climatology) / anomaly_std as channels (..., C, ny, nx)."""
        return (state - climatology).channels() / self.anomaly_std

    def tendency(self, change: OceanState) -> Tensor:
        """change / tendency_std as channels (..., C, ny, nx); the change is of one day."""
        return change.channels() / self.tendency_std

    def change(self, channels: Tensor, nz: int, kind: str = "tendency_std") -> OceanState:
        """Channels (..., C, ny, nx) in units of a kind as a change of the state."""
        return OceanState.from_channels(channels * getattr(self, kind), nz)

    def forcing(self, forcing: Forcing, climatology: Forcing) -> Tensor:
        """(forcing - climatology) / anomaly_std as channels (..., F, ny, nx)."""
        names = self.forcing_names
        return (forcing.channels(names) - climatology.channels(names)) / self.forcing_std

    def scale(self, kind: str) -> dict[str, Tensor]:
        """`anomaly_std` or `tendency_std` by variable: (nz, 1, 1), or (1, 1) without depth."""
        values: Tensor = getattr(self, kind)
        nz = (values.shape[0] - 1) // (len(PROGNOSTIC) - 1)
        state = OceanState.from_channels(values, nz)
        return {name: x for name, x in state.items() if name in VARIABLES}
