"""Tables as bytes, captions as text, figures as small files, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import zlib
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hybridom import cli
from hybridom.errors import UserError
from hybridom.figures import FIGURES, figure_names
from hybridom.page import themes
from hybridom.page.captions import plain, read_caption
from hybridom.page.columns import encode
from hybridom.page.document import Document, Picture, Table, content_hash, render
from hybridom.page.experiment import write_page
from hybridom.page.gallery import gallery_figures, write_gallery
from hybridom.page.images import reduced
from tests.page.conftest import score_rows, write_experiment

ROOT = Path(__file__).parents[2]


def decode(content: bytes) -> pd.DataFrame:
    """The table in what `encode` wrote, read by its documented layout."""
    raw = zlib.decompress(content)
    length = int.from_bytes(raw[:4], "little")
    head, at = json.loads(raw[4 : 4 + length]), 4 + length
    columns = {}
    for column in head["columns"]:
        if column["kind"] == "floats":
            planes = np.frombuffer(raw, np.uint8, 4 * head["rows"], at).reshape(4, -1)
            columns[column["name"]] = np.ascontiguousarray(planes.T).view("<f4")[:, 0]
            at += 4 * head["rows"]
        else:
            codes = np.frombuffer(raw, f"<u{column['width']}", head["rows"], at)
            columns[column["name"]] = [column["values"][code] for code in codes]
            at += column["width"] * head["rows"]
    assert at == len(raw)
    return pd.DataFrame(columns)


def test_a_table_comes_back_with_five_digits():
    table = score_rows(leads=range(1, 200))
    table["value"] *= 1e20
    assert table["value"].nunique() > 4096  # so that it is stored as floats
    found = decode(encode(table))
    assert list(found) == list(table)
    for name in table:
        if name in ("value", "low", "high"):
            np.testing.assert_allclose(found[name], table[name], rtol=4e-6)
        else:
            expected = table[name].astype(object).where(table[name].notna(), None)
            assert found[name].astype(object).where(found[name].notna(), None).equals(expected)


def test_rounding_to_17_bits_carries_into_the_exponent():
    values = np.linspace(1.9999, 2.0001, 5001)
    found = decode(encode(pd.DataFrame({"value": values})))["value"]
    np.testing.assert_allclose(found, values, rtol=4e-6)


@pytest.mark.parametrize(("distinct", "width"), [(256, 1), (257, 2), (65537, 4)])
def test_codes_are_as_wide_as_the_distinct_values_need(distinct, width):
    table = pd.DataFrame({"n": np.arange(distinct)})
    raw = zlib.decompress(encode(table))
    length = int.from_bytes(raw[:4], "little")
    (column,) = json.loads(raw[4 : 4 + length])["columns"]
    assert column["width"] == width
    assert decode(encode(table))["n"].tolist() == list(range(distinct))


def test_a_table_without_rows_is_a_table():
    found = decode(encode(pd.DataFrame({"lead": pd.Series(dtype=int), "value": []})))
    assert list(found) == ["lead", "value"] and found.empty


def test_infinities_are_no_numbers_for_a_browser():
    found = decode(encode(pd.DataFrame({"value": [1.5, np.inf, np.nan]})))
    assert found["value"][0] == 1.5 and found["value"][1:].isna().all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("One\ntwo ``a_b``.\n\nThree.\n", "One two a_b.\n\nThree."),
        ("See `docs <https://x.org>`_ and :math:`a^2`", "See docs (https://x.org) and a^2"),
        ("**Bold** and *soft*, 2 * 3 * 4", "Bold and soft, 2 * 3 * 4"),
        ("``a*b`` of *c*", "a*b of c"),
    ],
)
def test_captions_lose_their_marks(text, words):
    assert plain(text) == words


def test_every_figure_has_a_theme():
    assert {entry.module for entry in FIGURES.values()} <= {
        module for modules in themes.THEMES.values() for module in modules
    }


def test_every_table_has_a_caption_in_the_workflow(experiment):
    for family in ("scores", *experiment.config.evaluation.families):
        text = read_caption(ROOT / "workflow" / "report", themes.table_caption(family))
        assert len(text) > 40 and "``" not in text


def test_a_figure_gets_256_colours_on_white_and_hardly_changes(tmp_path):
    rows, columns = np.mgrid[0:200, 0:300]
    colours = np.stack([rows, columns * 255 // 300, 255 - rows, 255 - 0 * rows], axis=-1)
    colours[:50, :50, 3] = 0  # transparent
    path = tmp_path / "figure.png"
    Image.fromarray(colours.astype(np.uint8), "RGBA").save(path)
    with Image.open(io.BytesIO(reduced(path))) as small:
        assert small.mode == "P" and small.size == (300, 200)
        found = np.asarray(small.convert("RGB")).astype(int)
    assert (found[:45, :45] >= 240).all()
    assert np.abs(found - colours[..., :3])[60:].mean() < 6
    with Image.open(io.BytesIO(reduced(path, width=150))) as smaller:
        assert smaller.size == (150, 100)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "rmse_lead.png").write_text("no image")
    with pytest.raises(UserError, match=r"rmse_lead.png: .*run `hybridom figures rmse_lead`"):
        reduced(tmp_path / "rmse_lead.png")


def test_the_page_holds_what_it_says(experiment):
    text = experiment.layout.page.read_text()
    for name in figure_names(experiment.config):
        assert f'id="figure-{name}"' in text
    assert "3, every 2 days from 2004-02-26 to 2004-03-01; 5 days each" in text
    assert "hybridom 0.1.0, configuration abc, grid def" in text
    assert "2001-01-01 to 2002-12-31" in text
    assert "Caption of rmse_lead &amp; &lt;b&gt;more&lt;/b&gt;." in text
    for name, table in experiment.tables.items():
        content = re.search(rf'id="data-{name}">([^<]*)<', text)[1]
        assert len(decode(base64.b64decode(content))) == len(table)


def test_nothing_in_the_page_points_outside(experiment):
    text = experiment.layout.page.read_text()
    without_data = re.sub(r'src="data:[^"]*"', "", text)
    assert re.findall(r'(?:src|href)\s*=\s*"([^"#][^"]*)"', without_data) == []
    assert "http" not in re.sub(r"http-equiv", "", without_data)
    assert "@import" not in text and "url(" not in without_data


def test_only_the_page_s_own_script_and_style_may_run(experiment):
    text = experiment.layout.page.read_text()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    script = re.search(r"<script>(.*?)</script>", text, flags=re.DOTALL)[1]
    style = re.search(r"<style>(.*?)</style>", text, flags=re.DOTALL)[1]
    assert f"script-src '{content_hash(script)}'" in policy
    assert f"style-src '{content_hash(style)}'" in policy
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy


def test_markup_in_any_text_is_escaped():
    evil = '"><script>alert(1)</script>'
    table = Table("t", evil, evil, pd.DataFrame({"region": [evil], "value": [1.0]}))
    picture = Picture("p", evil, evil, problem=evil)
    document = Document(evil, {evil: evil}, {evil: [picture]}, [table], notes=[evil])
    text = render(document)
    assert "<script>alert" not in text
    assert text.count(unescape("&lt;script")) == 2  # the data and the page's own


def test_films_are_embedded_as_they_are():
    film = Picture("f", "Film", "Moves.", ".mp4", "video/mp4", b"not reduced")
    text = render(Document("t", {}, {"Maps": [film]}, []))
    content = base64.b64encode(b"not reduced").decode()
    assert f'<video controls loop muted playsinline src="data:video/mp4;base64,{content}">' in text
    assert '<a download="f.mp4">' in text and 'class="zoom"' not in text.split("<script>")[0]


def test_a_figure_that_was_not_drawn_is_named_in_the_page(tmp_path, caplog):
    made = write_experiment(tmp_path)
    path = made.layout.figures_dir / "bias_lead.png"
    path.unlink()
    write_page(made.config, made.layout, made.captions)
    words = f"{path} is missing; run hybridom figures bias_lead"
    assert words in made.layout.page.read_text()
    assert any(words in message for message in caplog.messages)


def test_figures_that_no_browser_shows_are_named_with_the_option(tmp_path):
    made = write_experiment(tmp_path)
    only_pdf = made.config.figures.model_copy(update={"formats": ("pdf",)})
    config = made.config.model_copy(update={"figures": only_pdf})
    write_page(config, made.layout, made.captions)
    text = made.layout.page.read_text()
    assert "add png or svg to figures.formats and run hybridom figures rmse_lead" in text


@pytest.mark.parametrize("lost", ["extremes.parquet", "skill.csv", "scores.parquet"])
def test_a_missing_table_is_refused_with_the_command_that_makes_it(tmp_path, lost):
    made = write_experiment(tmp_path)
    (made.layout.table("scores").parent / lost).unlink()
    with pytest.raises(UserError, match=rf"{lost}: .*run `hybridom evaluate aggregate`"):
        write_page(made.config, made.layout, made.captions)
    assert not made.layout.page.exists()


def test_a_missing_caption_is_refused_with_the_option(tmp_path):
    made = write_experiment(tmp_path)
    shutil.rmtree(made.captions)
    with pytest.raises(UserError, match=r"rmse_lead\.rst: .*--captions"):
        write_page(made.config, made.layout, made.captions)


def test_forecasts_of_several_origins_are_all_named(tmp_path):
    made = write_experiment(tmp_path)
    starts = made.config.forecast.start_dates()
    made.layout.forecast_manifest(starts[1]).unlink()
    write_page(made.config, made.layout, made.captions)
    lost = made.layout.forecast_manifest(starts[1])
    text = unescape(made.layout.page.read_text())
    assert f"grid def; unknown ({lost} is missing or not a manifest)" in text


def test_the_page_of_a_region_names_its_driver_and_shows_its_own_figures(tmp_path, experiment):
    made = write_experiment(
        tmp_path,
        grid={
            "name": "box",
            "resolution": 8.0,
            "lat": (8, 64),
            "lon": (120, 240),
            "depths": (5.0, 20.0),
        },
        region={"driver": {"experiment": "outer", "grid": "globe"}},
        skeleton={"boundaries": "open", "sponge": {"width": 1, "days": 1}},
        evaluation={"edges": 1, "regions": {"west": (8, 64, 120, 180)}},
    )
    write_page(made.config, made.layout, made.captions)
    page = made.layout.page.read_text()
    assert "<dt>Driver</dt><dd>outer, on the grid globe</dd>" in page
    section = page.split('<section id="regions">')[1].split("</section>")[0]
    assert re.findall(r'id="figure-(\w+)"', section) == ["edges_lead", "gate_weights"]
    alone = experiment.layout.page.read_text()
    assert "<dt>Driver</dt>" not in alone and 'id="regions"' not in alone


def test_the_same_inputs_give_the_same_bytes(tmp_path):
    made = write_experiment(tmp_path)
    pages = []
    for _ in range(2):
        write_page(made.config, made.layout, made.captions)
        pages.append(made.layout.page.read_bytes())
    assert pages[0] == pages[1]


def test_the_gallery_holds_one_small_figure_of_each_kind_and_shows_it(experiment, tmp_path):
    write_gallery(experiment.config, experiment.layout, tmp_path)
    names = gallery_figures(experiment.config)
    modules = [FIGURES[name].module for name in names]
    assert len(modules) == len(set(modules)) and "animation" not in modules
    assert {path.stem for path in tmp_path.glob("*.png")} == set(names)
    text = (tmp_path / "README.md").read_text()
    assert re.findall(r"!\[[^]]+\]\(([^)]+)\)", text) and set(
        re.findall(r"!\[[^]]+\]\(([^)]+)\.png\)", text)
    ) == set(names)
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            assert image.width == 560
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {3}


def test_a_gallery_of_figures_that_were_not_drawn_is_refused(tmp_path):
    made = write_experiment(tmp_path / "made")
    (made.layout.figures_dir / "scorecard.png").unlink()
    with pytest.raises(UserError, match=r"scorecard\.png: .*hybridom figures scorecard"):
        write_gallery(made.config, made.layout, tmp_path / "gallery")
    assert not (tmp_path / "gallery").exists()


def test_the_command_writes_the_page_that_the_function_writes(tmp_path):
    made = write_experiment(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(made.config.model_dump(mode="json")))
    arguments = ["page", "--config", str(path), "--captions", str(made.captions)]
    assert cli.main(arguments) == 0
    by_command = made.layout.page.read_bytes()
    write_page(made.config, made.layout, made.captions)
    assert len(by_command) == len(made.layout.page.read_bytes())
    assert cli.main([*arguments, "--gallery", str(tmp_path / "gallery")]) == 0
    assert (tmp_path / "gallery" / "README.md").is_file()


def test_the_script_is_valid_where_node_can_say_so():
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    path = ROOT / "hybridom" / "page" / "page.js"
    subprocess.run([node, "--check", str(path)], check=True)
