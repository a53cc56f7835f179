"""From a change of vorticity to the change of currents that carries it: an inverse Laplacian.

    lap(psi) = d(zeta),    du = -d(psi)/dy,    dv = d(psi)/dx

on the sphere, level by level. The change has no divergence: nothing is said about that part of the
flow. The Laplacian is the flux form on the cells of the grid, div(grad(psi)) of `operators` without
land: a rectangle of cells is what makes a direct solution possible, and d(zeta) is zero on land.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.masks import Mask


class VorticityInversion(nn.Module):
    """Currents of a vorticity, differentiable and linear, no parameters; zero gives exactly zero.

    Longitude goes through a Fourier transform; of a grid that is not periodic the row is first
    mirrored with the opposite sign, which makes it periodic and psi zero on both edges (a sine
    transform). What is left for each wavenumber k is (T - lambda_k D) psi = A zeta along a column,
    T tridiagonal, D and A diagonal. T and D are the same for all k, so that one eigenbasis Q
    (T Q = D Q mu, Q' D Q = 1) solves all of them: psi = Q (Q' A zeta) / (mu - lambda_k), the fast
    diagonalisation of Lynch, Rice and Thomas (1964). That is two matrix products for all
    wavenumbers, levels and samples at once, where elimination row by row would be some 2 ny
    dependent steps, each too small for a GPU. It is computed in float64: differences of psi lose
    four digits, and no setting for faster products of lower precision applies.

    psi is zero on walls in the north and south; past a pole lies the other side of it. A grid from
    pole to pole can hold no net vorticity (Stokes), so its area mean is taken out.

    Args:
        grid: The grid; all columns of the same width.
        wet: Ocean cells (nz, ny, nx), bool.

    Raises:
        UserError: Columns differ in width.
    """

    wet: Tensor
    basis: Tensor
    gain: Tensor
    area: Tensor
    dx: Tensor
    dy: Tensor

    def __init__(self, grid: Grid, wet: Mask) -> None:
        super().__init__()
        if not np.allclose(grid.dlon, grid.dlon[0]):
            raise UserError("grid: the inversion of vorticity needs columns of the same width")
        self.periodic = grid.periodic
        self.poles = tuple(bool(n == 0.0) for n in grid.dx_v[[0, -1], 0])
        basis, mu = _modes(grid)
        columns = grid.nx if grid.periodic else 2 * grid.nx
        wavenumber = np.arange(columns // 2 + 1)
        shift = 4 * np.sin(np.pi * wavenumber / columns) ** 2
        divisor = mu[:, None] - shift
        # The only zero: a constant, on a grid from pole to pole.
        constant = np.abs(divisor) < 1e-12 * np.abs(mu).max()
        gain = np.where(constant, 0.0, 1 / np.where(constant, 1.0, divisor))
        buffers = {
            "basis": basis,
            "gain": gain,
            "area": grid.area[:, :1],
            "dx": grid.dx_t[:, :1],
            "dy": grid.dy[:, None],
        }
        for name, value in buffers.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64), persistent=False)
        self.register_buffer("wet", torch.tensor(np.asarray(wet, bool)), persistent=False)

    def forward(self, change: Tensor) -> tuple[Tensor, Tensor]:
        """Currents of a change of vorticity.

        Args:
            change: Change of relative vorticity at centres (..., nz, ny, nx), s-1, anything on
                land.

        Returns:
            Change of the eastward and of the northward current at centres (..., nz, ny, nx),
            m s-1, zero on land.
        """
        psi = self.stream_function(torch.where(self.wet, change, 0.0))
        du, dv = (torch.where(self.wet, x, 0.0).to(change.dtype) for x in self._currents(psi))
        return du, dv

    def stream_function(self, change: Tensor) -> Tensor:
        """psi of lap(psi) = change, at centres (..., ny, nx), m2 s-1, float64."""
        nx = change.shape[-1]
        row = change.double() * self.area
        if self.periodic and all(self.poles):
            net = row.sum((-2, -1), keepdim=True) / (self.area.sum() * nx)
            row = row - net * self.area
        if not self.periodic:
            row = torch.cat([row, -row.flip(-1)], dim=-1)
        waves = torch.view_as_real(torch.fft.rfft(row, dim=-1)).flatten(-2)
        modes = self.basis.T @ waves
        modes = modes * self.gain.repeat_interleave(2, dim=-1)
        waves = torch.view_as_complex((self.basis @ modes).unflatten(-1, (-1, 2)))
        return torch.fft.irfft(waves, n=row.shape[-1], dim=-1)[..., :nx]

    def _currents(self, psi: Tensor) -> tuple[Tensor, Tensor]:
        """Eastward and northward current at centres: differences between a cell's faces."""
        west, east = (
            (psi[..., -1:], psi[..., :1]) if self.periodic else (-psi[..., :1], -psi[..., -1:])
        )
        across = torch.cat([west, psi, east], dim=-1)
        south, north = (
            _across_pole(row) if pole and self.periodic else torch.zeros_like(row)
            for row, pole in zip((psi[..., :1, :], psi[..., -1:, :]), self.poles, strict=True)
        )
        along = torch.cat([south, 0.5 * (psi[..., 1:, :] + psi[..., :-1, :]), north], dim=-2)
        du = -(along[..., 1:, :] - along[..., :-1, :]) / self.dy
        dv = (across[..., 2:] - across[..., :-2]) / (2 * self.dx)
        return du, dv


def _across_pole(row: Tensor) -> Tensor:
    """Mean of every cell of a polar row and of that opposite, by the even wavenumbers."""
    waves = torch.fft.rfft(row, dim=-1)
    even = torch.arange(waves.shape[-1], device=row.device) % 2 == 0
    return torch.fft.irfft(torch.where(even, waves, 0.0), n=row.shape[-1], dim=-1)


def _modes(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Q (ny, ny) and mu (ny,) of T Q = D Q mu, Q' D Q = 1.

    T holds the lengths of northern and southern faces over the distances across them: half a row
    to a wall, and no length at a pole. D holds the same ratio of western faces.
    """
    step = grid.dy
    distance = np.concatenate([step[:1] / 2, 0.5 * (step[1:] + step[:-1]), step[-1:] / 2])
    ratio = grid.dx_v[:, 0] / distance
    diagonal = grid.dy / grid.dx_t[:, 0]
    matrix = np.diag(-(ratio[1:] + ratio[:-1]))
    matrix += np.diag(ratio[1:-1], 1) + np.diag(ratio[1:-1], -1)
    scale = 1 / np.sqrt(diagonal)
    mu, vectors = np.linalg.eigh(scale[:, None] * matrix * scale)
    return scale[:, None] * vectors, mu
