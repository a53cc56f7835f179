"""Figures as bytes that are small enough to lie inside a page."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from hybridom.errors import UserError

COLOURS = 256
# What a browser shows, in the order in which a format of a figure is chosen.
SHOWN = {
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}


def shown_file(files: list[Path]) -> Path | None:
    """The file of a figure that a browser shows, or none."""
    by_suffix = {path.suffix: path for path in files}
    return next((by_suffix[suffix] for suffix in SHOWN if suffix in by_suffix), None)


def read_image(path: Path) -> bytes:
    """A file of `SHOWN`; a PNG comes back with 256 colours, a third of the size.

    Raises:
        UserError: It is no image.
    """
    return reduced(path) if path.suffix == ".png" else path.read_bytes()


def reduced(path: Path, width: int | None = None) -> bytes:
    """A PNG with a palette of 256 colours on white, without dithering.

    Args:
        path: The PNG.
        width: Largest width in pixels; the aspect ratio stays.

    Raises:
        UserError: The file is no image.
    """
    try:
        with Image.open(path) as image:
            whole = image.convert("RGBA")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read as an image ({error}); delete it and run `hybridom figures "
            f"{path.stem}`"
        ) from None
    flat = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
    if width is not None and flat.width > width:
        height = round(flat.height * width / flat.width)
        flat = flat.resize((width, height), Image.Resampling.LANCZOS)
    small = flat.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    content = io.BytesIO()
    small.save(content, "PNG", optimize=True)
    return content.getvalue()
