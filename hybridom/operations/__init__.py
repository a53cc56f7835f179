"""Looking after runs: what is missing before one, where it stands, what went wrong, what it costs.

These commands write no result of their own, so no stage of the workflow depends on them.
"""
