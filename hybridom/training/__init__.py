"""Training: losses, schedule, sampling, distribution, records and the loop."""
