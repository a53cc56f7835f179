"""The coarser model that drives a region: its fields on the region's cells."""

from hybridom.data.driver.reading import Driver, DriverForecast
from hybridom.data.driver.registration import Registration
from hybridom.data.driver.windows import Drive

__all__ = ["Drive", "Driver", "DriverForecast", "Registration"]
