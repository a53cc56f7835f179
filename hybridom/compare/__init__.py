"""Experiments side by side: their tables, figures and a page of both."""
