"""Ocean state and forcing, addressed by name and never by channel index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class OceanState:
    """Prognostic variables at cell centres; leading axes are free (batch, time).

    Attributes:
        thetao: Potential temperature (..., nz, ny, nx), degC.
        so: Salinity (..., nz, ny, nx), 1e-3.
        uo: Eastward velocity (..., nz, ny, nx), m s-1.
        vo: Northward velocity (..., nz, ny, nx), m s-1.
        zos: Sea-surface height (..., ny, nx), m.
    """

    thetao: Tensor
    so: Tensor
    uo: Tensor
    vo: Tensor
    zos: Tensor

    @property
    def nz(self) -> int:
        """Levels."""
        return self.thetao.shape[-3]

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """(name, field) in the order of `variables.PROGNOSTIC`."""
        for f in fields(self):
            yield f.name, getattr(self, f.name)

    def map(self, fn: Callable[[Tensor], Tensor]) -> OceanState:
        """Apply `fn` to every field."""
        return OceanState(**{name: fn(x) for name, x in self.items()})

    def zip_map(self, other: OceanState, fn: Callable[[Tensor, Tensor], Tensor]) -> OceanState:
        """Apply `fn` to every pair of fields."""
        return OceanState(**{name: fn(x, getattr(other, name)) for name, x in self.items()})

    def __add__(self, other: OceanState) -> OceanState:
        return self.zip_map(other, torch.add)

    def __sub__(self, other: OceanState) -> OceanState:
        return self.zip_map(other, torch.sub)

    def to(self, *args: object, **kwargs: object) -> OceanState:
        """Move or cast every field, as `Tensor.to`."""
        return self.map(lambda x: x.to(*args, **kwargs))  # type: ignore[call-overload]

    def select(self, dim: int, index: int) -> OceanState:
        """Take one entry of a leading axis, counted from the front."""
        return self.map(lambda x: x.select(dim, index))

    def channels(self) -> Tensor:
        """All levels of all variables on one axis: (..., 4 nz + 1, ny, nx)."""
        return torch.cat([self.thetao, self.so, self.uo, self.vo, self.zos.unsqueeze(-3)], dim=-3)

    @classmethod
    def from_channels(cls, x: Tensor, nz: int) -> OceanState:
        """Inverse of `channels`.

        Raises:
            ValueError: The axis does not hold 4 nz + 1 channels.
        """
        thetao, so, uo, vo, zos = torch.split(x, [nz, nz, nz, nz, 1], dim=-3)
        return cls(thetao, so, uo, vo, zos.squeeze(-3))

    @classmethod
    def stack(cls, states: Sequence[OceanState], dim: int = 0) -> OceanState:
        """Put states behind one another on a new leading axis."""
        names = [f.name for f in fields(cls)]
        return cls(**{n: torch.stack([getattr(s, n) for s in states], dim) for n in names})


@dataclass(frozen=True)
class Forcing:
    """Surface forcing at cell centres: name -> (..., ny, nx)."""

    fields: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.fields[name]

    def map(self, fn: Callable[[Tensor], Tensor]) -> Forcing:
        """Apply `fn` to every field."""
        return Forcing({name: fn(x) for name, x in self.fields.items()})

    def to(self, *args: object, **kwargs: object) -> Forcing:
        """Move or cast every field, as `Tensor.to`."""
        return self.map(lambda x: x.to(*args, **kwargs))  # type: ignore[call-overload]

    def select(self, dim: int, index: int) -> Forcing:
        """Take one entry of a leading axis, counted from the front."""
        return self.map(lambda x: x.select(dim, index))

    def channels(self, names: Sequence[str]) -> Tensor:
        """The named fields on one axis: (..., len(names), ny, nx)."""
        return torch.stack([self.fields[n] for n in names], dim=-3)
