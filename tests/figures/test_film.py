"""Films: frames of one forecast, and how they are written."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from hybridom.errors import UserError
from hybridom.figures import animation, draw, figure_names, figure_outputs, film, style
from hybridom.figures.registry import figure_inputs
from tests.figures.conftest import altered

COLOURS = np.array([[255, 255, 255], [200, 30, 30], [30, 60, 200], [0, 0, 0]], np.uint8)


def moving(count: int = 5):
    """Frames in one buffer, which the next one overwrites."""
    buffer = np.empty((21, 31, 3), np.uint8)
    for number in range(count):
        buffer[:] = COLOURS[0]
        buffer[3:9, 3:9] = COLOURS[3]
        buffer[:3, :3] = COLOURS[2]
        buffer[10:15, 4 * number : 4 * number + 6] = COLOURS[1]
        yield buffer


def pictures(path) -> list[np.ndarray]:
    with Image.open(path) as image:
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            found.append(np.asarray(image.convert("RGB")).astype(int))
        return found


def test_a_gif_holds_every_frame_as_it_was_when_it_was_handed_over(tmp_path):
    path = tmp_path / "folder" / "film.gif"
    film.save(moving(), path, fps=5)
    found = pictures(path)
    assert len(found) == 5
    for picture, expected in zip(found, moving(), strict=True):
        assert np.abs(picture - expected).max() <= 4
    with Image.open(path) as image:
        assert (image.info["duration"], image.info["loop"]) == (200, 0)
    assert [p.name for p in path.parent.iterdir()] == ["film.gif"]


def test_what_stays_as_it_was_takes_no_room(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    film.save(iter([noise]), tmp_path / "one.gif", fps=5)
    film.save(iter([noise] * 20), tmp_path / "many.gif", fps=5)
    one, many = ((tmp_path / name).stat().st_size for name in ("one.gif", "many.gif"))
    assert many < 1.5 * one


def test_a_film_that_fails_leaves_no_file_of_its_name(tmp_path):
    def broken():
        yield from moving(2)
        raise UserError("a day is missing")

    with pytest.raises(UserError, match="a day is missing"):
        film.save(broken(), tmp_path / "film.gif", fps=5)
    assert not (tmp_path / "film.gif").exists()


def test_an_mp4_holds_every_frame(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "film.mp4"
    film.save(moving(), path, fps=5)
    command = [film.ffmpeg(), "-loglevel", "error", "-i", path, "-f", "rawvideo"]
    done = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    found = np.frombuffer(done.stdout, np.uint8).reshape(-1, 20, 30, 3).astype(int)
    assert len(found) == 5  # an odd row and column were cut
    for picture, expected in zip(found, moving(), strict=True):
        assert np.abs(picture - expected[:20, :30]).mean() < 12


def test_without_ffmpeg_an_mp4_is_refused_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match=r"figures\.animation\.format.*hybridom\[animation\]"):
        film.save(moving(), tmp_path / "film.mp4", fps=5)


def test_an_ffmpeg_that_fails_is_named_with_its_words(monkeypatch, tmp_path):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho 'Unknown encoder libx264' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(film, "ffmpeg", lambda: str(program))
    with pytest.raises(UserError, match=r"film\.mp4.*Unknown encoder libx264.*format=gif"):
        film.save(moving(), tmp_path / "film.mp4", fps=5)
    assert not (tmp_path / "film.mp4").exists()


def test_the_film_of_a_forecast_has_a_frame_every_so_many_days(drawn):
    (path,) = figure_outputs("animation_thetao", drawn.config, drawn.layout)
    assert path.name == "animation_thetao.gif"
    found = pictures(path)
    assert len(found) == drawn.config.forecast.days + 1
    assert all(picture.std() > 5 for picture in found)
    assert all(np.abs(a - b).max() > 20 for a, b in pairwise(found))
    every = drawn.config.figures.animation.model_copy(update={"every": 2})
    with style.context():
        frames = animation.film(altered(drawn.config, animation=every), drawn.layout, "thetao")
        assert sum(1 for _ in frames) == 3


def test_no_text_of_a_film_is_cut_off(drawn):
    for picture in pictures(figure_outputs("animation_thetao", drawn.config, drawn.layout)[0]):
        edges = (picture[0], picture[-1], picture[:, 0], picture[:, -1])
        assert all((edge > 245).all() for edge in edges)


def test_meshes_show_the_days_of_the_forecast(scored, monkeypatch):
    kept = []
    stage = animation._stage

    def staged(*arguments):
        kept.append(stage(*arguments))
        return kept[0]

    monkeypatch.setattr(animation, "_stage", staged)
    start = scored.config.forecast.first
    with style.context():
        for lead, _ in enumerate(animation.film(scored.config, scored.layout, "zos")):
            _, meshes, title = kept[0]
            truth = scored.truth["zos"][scored.on(start) + lead]
            forecast = scored.forecasts[start]["zos"][lead]
            wet = scored.wet[0]
            for mesh, field in zip(meshes, (forecast, truth, forecast - truth), strict=True):
                shown = np.sort(np.ma.compressed(mesh.get_array()))
                np.testing.assert_allclose(shown, np.sort(field[wet]), rtol=1e-5, atol=1e-6)
            assert f"day {lead}, 2004-0" in title.get_text()


def test_films_are_those_of_the_chosen_variables_and_format(scored):
    chosen = scored.config.figures.animation.model_copy(
        update={"variables": ("so", "zos"), "format": "mp4"}
    )
    config = altered(scored.config, animation=chosen)
    names = [name for name in figure_names(config) if name.startswith("animation")]
    assert names == ["animation_so", "animation_zos"]
    (path,) = figure_outputs("animation_so", config, scored.layout)
    assert path.suffix == ".mp4"
    assert scored.layout.state_manifest(2004) in figure_inputs(
        "animation_so", config, scored.layout
    )
    with pytest.raises(UserError, match="'animation_thetao' is unknown"):
        draw("animation_thetao", config, scored.layout)
