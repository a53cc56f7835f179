"""Raw files of the ocean and the atmosphere: what they hold, and their values."""
