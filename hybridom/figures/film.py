"""Films, written frame by frame: GIF by Pillow's encoder, MP4 by ffmpeg."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import getdata

from hybridom.errors import UserError

COLOURS = 255  # of a GIF; one more says that a pixel stays as it was
UNCHANGED = 255


def save(frames: Iterator[np.ndarray], path: Path, fps: int) -> None:
    """Write a film; only one frame is held at a time.

    The same frames give the same bytes of a GIF.

    Args:
        frames: Pictures (height, width, 3) of uint8, all of one size, one at least.
        path: File; its suffix, `.gif` or `.mp4`, gives the format. It appears complete or not
            at all.
        fps: Frames a second.

    Raises:
        UserError: ffmpeg is missing or fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    write = {".gif": write_gif, ".mp4": write_mp4}[path.suffix]
    write(frames, temporary, fps)
    os.replace(temporary, path)


def write_gif(frames: Iterator[np.ndarray], path: Path, fps: int) -> None:
    """Write an endless GIF89a whose colours are those of the first frame.

    Of each further frame only the pixels that changed are stored.
    """
    with path.open("wb") as file:
        palette, shown = None, None
        for frame in frames:
            picture = Image.fromarray(frame)
            if palette is None:
                # The usual method has few shades of what is rare in the first frame.
                palette = picture.quantize(COLOURS, method=Image.Quantize.FASTOCTREE)
                file.write(_header(palette))
            indices = np.asarray(picture.quantize(palette=palette, dither=Image.Dither.NONE))
            same = shown is not None and indices == shown
            _write_frame(file, np.where(same, UNCHANGED, indices), fps)
            shown = indices
        file.write(b";")


def _header(palette: Image.Image) -> bytes:
    """Signature, size, palette of 256 colours, and the block that asks for endless repetition."""
    colours = bytes(palette.getpalette("RGB") or ()).ljust(3 * 256, b"\0")
    size = struct.pack("<HHBBB", *palette.size, 0xF7, 0, 0)
    return b"GIF89a" + size + colours + b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"


def _write_frame(file: IO[bytes], indices: np.ndarray, fps: int) -> None:
    picture = Image.fromarray(indices.astype(np.uint8), mode="P")
    shown = 1000 / fps  # ms
    for part in getdata(picture, duration=shown, transparency=UNCHANGED, disposal=1):
        file.write(part)


def write_mp4(frames: Iterator[np.ndarray], path: Path, fps: int) -> None:
    """Write H.264, which browsers play; sizes are cut to even numbers, as it asks."""
    first = next(frames)
    height, width = (2 * (n // 2) for n in first.shape[:2])
    command = [
        *(ffmpeg(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"),
        *("-s", f"{width}x{height}", "-r", str(fps), "-i", "-", "-an", "-c:v", "libx264"),
        *("-pix_fmt", "yuv420p", "-crf", "20", "-threads", "1", "-fflags", "+bitexact"),
        *("-movflags", "+faststart", "-f", "mp4", str(path)),
    ]
    with tempfile.TemporaryFile() as errors:
        # Should it end before its time, it says below why.
        with (
            suppress(BrokenPipeError),
            subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors) as process,
        ):
            assert process.stdin is not None
            process.stdin.write(first[:height, :width].tobytes())
            for frame in frames:
                process.stdin.write(frame[:height, :width].tobytes())
        if process.returncode:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            raise UserError(
                f"{path}: ffmpeg failed ({said[-1] if said else process.returncode}); expected "
                "one with libx264, or set figures.animation.format=gif"
            )


def ffmpeg() -> str:
    """The program ffmpeg: of the system, else of the package imageio-ffmpeg.

    Raises:
        UserError: There is neither.
    """
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        raise UserError(
            "figures.animation.format: mp4 needs the program ffmpeg; install it, or "
            "`pip install 'hybridom[animation]'`, or set figures.animation.format=gif"
        ) from None
