"""Retrieval of GLORYS12V1 and ERA5: one job a month, resumable, checked by size and by opening."""
