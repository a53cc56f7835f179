"""Anomalies by longitude and lead."""

from __future__ import annotations

import datetime as dt

import numpy as np

from hybridom.figures import hovmoeller, style
from hybridom.figures.inputs import Fields
from hybridom.figures.registry import figure_inputs, figure_names
from hybridom.grid import Grid
from tests.figures.conftest import altered


def test_a_row_counts_as_far_as_it_lies_in_the_band():
    grid = Grid.regular(10.0, depths=(5.0,))
    wet = np.ones((grid.ny, grid.nx), bool)
    wet[9, 3] = False
    weights = hovmoeller.band_weights(grid, wet, (-10.0, 5.0))
    assert set(np.flatnonzero(weights.any(axis=1))) == {8, 9}
    sines = np.sin(np.deg2rad([-10.0, 0.0, 5.0]))
    np.testing.assert_allclose(weights[8:10, 0], np.diff(sines))
    assert weights[9, 3] == 0.0 and weights[8, 3] > 0.0


def test_anomalies_are_departures_from_the_climatology_of_the_day(scored):
    """By hand, 29 February among the days."""
    config, start = scored.config, scored.config.forecast.first
    fields = Fields(config, scored.layout, "thetao", start)
    forecast, truth = hovmoeller.anomalies(fields, 5, (-2.0, 2.0))
    grid, wet = scored.grid, scored.wet[0]
    rows = [2, 3]  # both sides of the equator, equally
    for lead in range(6):
        day = start + dt.timedelta(lead)
        if (day.month, day.day) == (2, 29):
            normal = scored.climatology["thetao"][58:60].mean(axis=0)
        else:
            normal = scored.climatology["thetao"][day.replace(year=2001).timetuple().tm_yday - 1]
        for found, field in (
            (forecast, scored.forecasts[start]["thetao"][lead]),
            (truth, scored.truth["thetao"][scored.on(day)]),
        ):
            for column in range(grid.nx):
                wet_rows = [row for row in rows if wet[row, column]]
                values = [field[0, row, column] - normal[0, row, column] for row in wet_rows]
                expected = np.mean(values) if values else np.nan
                np.testing.assert_allclose(found[lead, column], expected, rtol=1e-6)


def test_panels_run_from_the_seam_and_over_all_leads(scored):
    with style.context():
        figure = hovmoeller.figure(scored.config, scored.layout, "zos")
    fields = Fields(scored.config, scored.layout, "zos", scored.config.forecast.first)
    forecast, truth = hovmoeller.anomalies(fields, 5, (-2.0, 2.0))
    shift = hovmoeller.seam_column(scored.grid)
    for axes, expected in zip(figure.axes, (forecast, truth, forecast - truth), strict=False):
        mesh = axes.collections[0]
        np.testing.assert_allclose(
            np.ma.filled(mesh.get_array(), np.nan), np.roll(expected, -shift, axis=1)
        )
        corners = mesh.get_coordinates()
        assert (corners[0, 0, 1], corners[-1, 0, 1]) == (-0.5, 5.5)
        assert np.ptp(corners[0, :, 0]) == 360.0


def test_it_needs_the_climatology_and_a_band_that_the_grid_reaches(scored):
    inputs = figure_inputs("hovmoeller_zos", scored.config, scored.layout)
    assert scored.layout.climatology_manifest in inputs
    grid = scored.config.grid.model_copy(update={"lat": (30.0, 60.0)})
    north = scored.config.model_copy(update={"grid": grid})
    assert "hovmoeller_zos" not in figure_names(north)
    chosen = scored.config.figures.hovmoeller.model_copy(update={"lat": (40.0, 50.0)})
    assert "hovmoeller_zos" in figure_names(altered(north, hovmoeller=chosen))
