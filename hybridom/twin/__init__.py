"""The embedded ocean: a coarse global ocean simulated by Veros, written as GLORYS and ERA5 are.

It stands in for the real products where these are not at hand. Its dynamics are Veros's own and
independent of the numerical ocean of `hybridom.physics`. It has no eddies: it serves to exercise
the whole chain and to compare forecasts, not to judge eddy forecasting.
"""
