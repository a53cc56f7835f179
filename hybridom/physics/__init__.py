"""The numerical ocean: one differentiable day of tracers, pressure and vorticity in plain torch."""
