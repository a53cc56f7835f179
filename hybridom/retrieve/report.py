"""What a retrieval would fetch, as a table; made without any network."""

from __future__ import annotations

from collections.abc import Sequence

from hybridom.retrieve.plan import Job, Piece, human

NOTES = {
    "original": "original: 2 bytes a value on 2041 x 4320 points and 50 levels, 35 % of it after "
    "compression",
    "subset": "subset: 2 bytes a value in the box, levels in between included, 35 % of it after "
    "compression",
    "static": "static: the files uncompressed; they are smaller",
    "cds": "cds: 2 bytes a value of the hourly fields in the box",
    "arco": "arco: 3.3 bytes a value of the daily means in the box; read are 24 global fields a "
    "day and variable at 2.2 bytes a value",
}


def table(jobs: Sequence[Job]) -> str:
    """One line a job and dataset: files, estimated bytes on disk and over the network, and where.

    Args:
        jobs: What is still to be fetched.
    """
    rows = [("job", "dataset", "files", "on disk", "to read", "folder")]
    for job in jobs:
        if not job.pieces:
            rows.append((job.name, "(complete)", *_sums(()), str(job.folder)))
        for dataset in dict.fromkeys(piece.dataset for piece in job.pieces):
            pieces = [piece for piece in job.pieces if piece.dataset == dataset]
            rows.append((job.name, dataset, *_sums(pieces), str(job.folder)))
    rows.append(("total", "", *_sums([piece for job in jobs for piece in job.pieces]), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(map(_aligned, row, widths, range(len(row)))).rstrip() for row in rows]
    modes = dict.fromkeys(job.mode for job in jobs)
    notes = [f"Sizes are estimates. {NOTES[mode]}." for mode in modes]
    return "\n".join([*lines, "", *notes])


def _sums(pieces: Sequence[Piece]) -> tuple[str, str, str]:
    size, transfer = sum(p.size for p in pieces), sum(p.transfer for p in pieces)
    return str(len(pieces)), human(size), human(transfer)


def _aligned(text: str, width: int, column: int) -> str:
    return text.rjust(width) if 2 <= column <= 4 else text.ljust(width)
