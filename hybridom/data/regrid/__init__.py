"""Regridding between latitude-longitude grids."""

from hybridom.data.regrid.bilinear import BilinearRegridder
from hybridom.data.regrid.coast import fill_from_sea
from hybridom.data.regrid.conservative import Regridder
from hybridom.data.regrid.fused import FusedRegridder, Regridded

__all__ = ["BilinearRegridder", "FusedRegridder", "Regridded", "Regridder", "fill_from_sea"]
