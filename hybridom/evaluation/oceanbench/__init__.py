"""OceanBench 0.6.1: its scores, a validator of submissions and an exporter of our forecasts."""
