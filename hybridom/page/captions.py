"""Captions: the reStructuredText of the workflow's report as plain text."""

from __future__ import annotations

import re
from pathlib import Path

from hybridom.errors import UserError

# Marks of reStructuredText that the captions use, and what is left of them.
MARKS = (
    (re.compile(r"``(.+?)``", re.DOTALL), r"\1"),
    (re.compile(r":[a-z-]+:`(.+?)`", re.DOTALL), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<([^`>]+)>`__?", re.DOTALL), r"\1 (\2)"),
    (re.compile(r"\*\*(.+?)\*\*", re.DOTALL), r"\1"),
    (re.compile(r"(?<![\w*])\*(?=\S)(.+?)(?<=\S)\*(?![\w*])", re.DOTALL), r"\1"),
)


def read_caption(folder: Path, name: str) -> str:
    """The caption of one figure or table as plain text.

    Args:
        folder: Folder of the captions.
        name: File name.

    Returns:
        Paragraphs, separated by empty lines.

    Raises:
        UserError: There is no such file.
    """
    path = folder / name
    if not path.is_file():
        raise UserError(
            f"{path}: this caption is missing; name the folder of the captions, workflow/report of "
            "a clone of the project, with --captions"
        )
    return plain(path.read_text(encoding="utf-8"))


def plain(text: str) -> str:
    """Text without inline marks, a line each paragraph."""
    for pattern, replacement in MARKS:
        text = pattern.sub(replacement, text)
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    return "\n\n".join(part for part in paragraphs if part)
