"""Regridding between latitude-longitude grids."""

from hybridom.data.regrid.conservative import Regridder

__all__ = ["Regridder"]
