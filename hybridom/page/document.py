"""A page from its parts: everything inline, nothing fetched, all text escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template

import pandas as pd

from hybridom.page.columns import encode

KEYS = ("lead", "region", "variable", "depth", "system", "metric", "experiment")


@dataclass(frozen=True)
class Table:
    """One table of a page.

    Attributes:
        name: Its name in links and for the file that a reader saves.
        title: Heading.
        note: Paragraphs above it, plain text.
        rows: The table.
        keys: Columns besides `KEYS` by whose values rows can be chosen.
    """

    name: str
    title: str
    note: str
    rows: pd.DataFrame
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """One figure of a page.

    Attributes:
        name: File name without suffix.
        title: A few words.
        caption: Plain text.
        suffix: Suffix of the file, with the dot.
        media: Media type.
        content: The file's bytes; empty where there is none to show.
        problem: Why there is none.
    """

    name: str
    title: str
    caption: str
    suffix: str = ".png"
    media: str = "image/png"
    content: bytes = b""
    problem: str = ""


@dataclass(frozen=True)
class Document:
    """A page.

    Attributes:
        title: Heading of the page.
        facts: Name -> value, listed below the heading.
        themes: Heading -> figures.
        tables: Tables.
        summary: HTML of a first section `Summary`, already escaped; none where empty.
        style: CSS of the summary.
        notes: Sentences above all, such as warnings.
    """

    title: str
    facts: Mapping[str, str]
    themes: Mapping[str, Sequence[Picture]]
    tables: Sequence[Table]
    summary: str = ""
    style: str = ""
    notes: Sequence[str] = field(default_factory=tuple)


def render(document: Document) -> str:
    """The page as HTML that needs no other file and runs no script but its own."""
    style = part("page.css") + document.style
    script = part("page.js")
    sections = [*_sections(document)]
    links = "".join(
        f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title, _ in sections
    )
    facts = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in document.facts.items()
    )
    notes = "".join(f'<p class="missing">{escape(note)}</p>' for note in document.notes)
    return Template(part("page.html")).substitute(
        title=escape(document.title),
        facts=f'<dl class="facts">{facts}</dl>{notes}',
        navigation=f"<ul>{links}</ul>",
        sections="\n".join(html for *_, html in sections),
        data="\n".join(_data(table) for table in document.tables),
        style=style,
        style_hash=content_hash(style),
        script=script,
        script_hash=content_hash(script),
    )


def part(name: str) -> str:
    """One of the files beside this module."""
    return files("hybridom.page").joinpath(name).read_text(encoding="utf-8")


def content_hash(text: str) -> str:
    """What a Content-Security-Policy calls an inline script or style by (CSP level 3, 2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def anchor(text: str) -> str:
    """A name for links from any text."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def paragraphs(text: str) -> str:
    """Plain text as HTML paragraphs."""
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part)


def _sections(document: Document) -> Iterable[tuple[str, str, str]]:
    """Anchor, title and HTML of each section."""
    if document.summary:
        yield (
            "summary",
            "Summary",
            f'<section id="summary"><h2>Summary</h2>{document.summary}</section>',
        )
    for theme, pictures in document.themes.items():
        name = anchor(theme)
        shown = "\n".join(_figure(picture) for picture in pictures)
        yield (
            name,
            theme,
            f'<section id="{name}"><h2>{escape(theme)}</h2><div class="figures">{shown}</div>'
            "</section>",
        )
    if document.tables:
        index = ", ".join(
            f'<a href="#table-{escape(table.name)}">{escape(table.title)}</a> ({len(table.rows):,})'
            for table in document.tables
        )
        shown = "\n".join(_table(table) for table in document.tables)
        yield (
            "tables",
            "Tables",
            f'<section id="tables"><h2>Tables</h2><p>{index}. A click on the head of a '
            f"column sorts by it, another one the other way round.</p>{shown}</section>",
        )


def _figure(picture: Picture) -> str:
    name, title = escape(picture.name), escape(picture.title)
    words = f"<strong>{title}</strong>{paragraphs(picture.caption)}"
    if not picture.content:
        return (
            f'<figure id="figure-{name}"><figcaption>{words}'
            f'<p class="missing">{escape(picture.problem)}</p></figcaption></figure>'
        )
    source = f"data:{picture.media};base64,{base64.b64encode(picture.content).decode()}"
    if picture.media.startswith("video/"):
        shown = f'<video controls loop muted playsinline src="{source}"></video>'
    else:
        shown = (
            f'<button type="button" class="zoom" aria-label="Enlarge: {title}">'
            f'<img alt="{title}" src="{source}"></button>'
        )
    return (
        f'<figure id="figure-{name}">{shown}<figcaption>{words}'
        f'<a download="{name}{picture.suffix}">{name}{picture.suffix}</a></figcaption></figure>'
    )


def _table(table: Table) -> str:
    name = escape(table.name)
    return (
        f'<section id="table-{name}" data-table="{name}"><h3>{escape(table.title)}</h3>'
        f'{paragraphs(table.note)}<div class="filters"></div><div class="scroll" tabindex="0" '
        f'role="region" aria-label="{escape(table.title)}"><table><thead></thead><tbody></tbody>'
        '</table></div><div class="pager"></div></section>'
    )


def _data(table: Table) -> str:
    content = base64.b64encode(
        encode(table.rows, (*KEYS, *table.keys), {"depth": "whole"})
    ).decode()
    return f'<script type="text/plain" id="data-{escape(table.name)}">{content}</script>'
