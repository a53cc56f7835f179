"""Forecasts, truth and climatology in files of any system, put on one grid or refused."""
