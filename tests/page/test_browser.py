"""The page in Chromium: it sorts, filters, enlarges, fits a phone, and fetches nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.page.browser import console, open_browser, requests, visit, wait

ROWS = 20


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def page(browser, experiment):
    """The page, fresh, in a window of a desktop and in light colours."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    visit(browser, experiment.layout.page)
    return browser


def find(page, css):
    return page.find_element("css selector", css)


def cells(page, table, column):
    """Texts of a column of the rows in sight."""
    script = """
      const [name, column] = arguments;
      const section = document.getElementById(`table-${name}`);
      const heads = [...section.querySelectorAll('thead th')].map((th) => th.textContent);
      const at = heads.indexOf(column.replaceAll('_', ' '));
      return [...section.querySelectorAll('tbody tr')].map((tr) => tr.cells[at].textContent);
    """
    return page.execute_script(script, table, column)


def head(page, table, column):
    words = column.replace("_", " ")
    path = f"//section[@id='table-{table}']//th[button[text()='{words}']]"
    return page.find_element("xpath", path)


def press(page, table, column):
    page.execute_script("arguments[0].querySelector('button').click()", head(page, table, column))


def status(page, table):
    return find(page, f"#table-{table} output").get_attribute("textContent")


def choose(page, table, column, text):
    script = """
      const [table, column, text] = arguments;
      const select = document.querySelector(`#table-${table} select[data-column='${column}']`);
      const option = [...select.options].find((option) => option.text === text);
      select.value = option.value;
      select.dispatchEvent(new Event('change'));
    """
    page.execute_script(script, table, column, text)


def search(page, table, words):
    script = """
      const input = document.querySelector(`#table-${arguments[0]} input`);
      input.value = arguments[1];
      input.dispatchEvent(new Event('input'));
    """
    page.execute_script(script, table, words)


def test_opening_it_says_nothing_and_asks_for_no_other_file(browser, experiment):
    page = experiment.layout.page
    console(browser)
    visit(browser, page)
    assert requests(browser, page) == [page.resolve().as_uri()]
    assert console(browser) == []


def test_every_table_has_all_its_rows(page, experiment):
    for name, table in experiment.tables.items():
        assert status(page, name) == f"rows 1 to {min(ROWS, len(table))} of {len(table):,}"
        page.execute_script(
            f"[...document.querySelectorAll('#table-{name} .pager button')].at(-1).click()"
        )
        last = len(table) - (len(table) - 1) // ROWS * ROWS
        assert len(cells(page, name, "region")) == last
        assert cells(page, name, "region")[-1] == table["region"].iloc[-1]


def test_a_click_on_a_head_sorts_numbers_upwards_then_downwards(page, experiment):
    table = experiment.tables["scores"]
    for state, ascending in (("ascending", True), ("descending", False)):
        press(page, "scores", "value")
        assert head(page, "scores", "value").get_attribute("aria-sort") == state
        assert head(page, "scores", "lead").get_attribute("aria-sort") == "none"
        expected = table["value"].sort_values(ascending=ascending).to_numpy()[:ROWS]
        found = np.array(cells(page, "scores", "value"), float)
        np.testing.assert_allclose(found, expected, rtol=6e-4)  # four digits are shown
    assert (expected > 1).all() and table["value"].min() < -1  # not by their texts


def test_undefined_values_come_last_both_ways(page, experiment):
    press(page, "scores", "low")
    for _ in range(2):
        page.execute_script(
            "[...document.querySelectorAll('#table-scores .pager button')].at(-1).click()"
        )
        assert set(cells(page, "scores", "low")) == {""}
        press(page, "scores", "low")


def test_words_are_sorted_by_the_alphabet_and_a_key_does_it_too(page, experiment):
    from selenium.webdriver.common.keys import Keys

    button = head(page, "scores", "system").find_element("css selector", "button")
    button.send_keys(Keys.ENTER)
    assert cells(page, "scores", "system") == ["climatology"] * ROWS
    button.send_keys(Keys.SPACE)
    assert cells(page, "scores", "system") == ["persistence"] * ROWS


def test_filters_keep_the_rows_that_pandas_keeps(page, experiment):
    table = experiment.tables["scores"]
    choose(page, "scores", "region", "tropics")
    choose(page, "scores", "metric", "bias")
    choose(page, "scores", "depth", "20")
    choose(page, "scores", "lead", "7")
    kept = table[
        (table["region"] == "tropics")
        & (table["metric"] == "bias")
        & (table["depth"] == 20.0)
        & (table["lead"] == 7)
    ]
    assert len(kept) == 3
    assert status(page, "scores") == f"rows 1 to 3 of 3, of {len(table):,} in all"
    found = np.array(cells(page, "scores", "value"), float)
    np.testing.assert_allclose(found, kept["value"], rtol=6e-4)
    choose(page, "scores", "lead", "all")
    choose(page, "scores", "depth", "whole")
    kept = table[(table["region"] == "tropics") & (table["metric"] == "bias")]
    assert f"of {kept['depth'].isna().sum()}," in status(page, "scores")


def test_words_must_all_occur_in_a_row(page, experiment):
    table = experiment.tables["scores"]
    search(page, "scores", "ACC zos  persist")
    kept = table[
        (table["metric"] == "acc_centred")
        & (table["variable"] == "zos")
        & (table["system"] == "persistence")
    ]
    assert f"of {len(kept)}, of {len(table):,} in all" in status(page, "scores")
    search(page, "scores", "no such word")
    assert status(page, "scores") == f"no rows, of {len(table):,} in all"


def test_the_rows_in_sight_are_saved_as_csv(page, experiment, tmp_path):
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    choose(page, "scores", "region", "</script><img src=x>")
    press(page, "scores", "value")
    page.execute_script("document.querySelector('#table-scores [data-save]').click()")
    path = tmp_path / "scores.csv"
    for _ in range(100):
        if path.exists():
            break
        page.execute_async_script("setTimeout(arguments[0], 50)")
    saved = pd.read_csv(path)
    table = experiment.tables["scores"]
    kept = table[table["region"] == "</script><img src=x>"].sort_values("value")
    assert list(saved) == list(table)
    np.testing.assert_allclose(saved["value"], kept["value"], rtol=6e-5)
    assert saved["depth"].isna().sum() == kept["depth"].isna().sum()


def transform(page):
    return find(page, "#lightbox img").value_of_css_property("transform")


def test_a_figure_is_enlarged_by_wheel_keys_and_dragging_and_closes_with_escape(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    button = find(page, "figure .zoom")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    assert find(page, "#lightbox").get_attribute("open") is not None
    whole, seen = transform(page), set()
    wait(page, "return document.querySelector('#lightbox img').complete")
    keys = ActionChains(page)
    for act in (
        lambda: keys.send_keys("+").perform(),
        lambda: keys.send_keys("-").send_keys("-").perform(),
        lambda: keys.send_keys(Keys.ARROW_LEFT).perform(),
        lambda: page.execute_script(
            "document.querySelector('#lightbox .stage').dispatchEvent("
            "new WheelEvent('wheel', {deltaY: -300, clientX: 500, clientY: 400}))"
        ),
        lambda: (
            ActionChains(page)
            .click_and_hold(find(page, "#lightbox .stage"))
            .move_by_offset(40, 25)
            .release()
            .perform()
        ),
    ):
        act()
        assert transform(page) not in seen | {whole}
        seen.add(transform(page))
    ActionChains(page).send_keys("0").perform()
    assert transform(page) == whole
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    assert find(page, "#lightbox").get_attribute("open") is None
    assert page.switch_to.active_element == button
    assert console(page) == []


def test_the_wheel_leaves_the_point_under_the_pointer_where_it_is(page):
    page.execute_script("document.querySelector('figure .zoom').click()")
    wait(page, "return document.querySelector('#lightbox img').complete")
    place = """
      const at = document.querySelector('#lightbox img').getBoundingClientRect();
      return [(600 - at.left) / at.width, (300 - at.top) / at.height, at.width];
    """
    before = page.execute_script(place)
    page.execute_script(
        "document.querySelector('#lightbox .stage').dispatchEvent("
        "new WheelEvent('wheel', {deltaY: -400, clientX: 600, clientY: 300}))"
    )
    after = page.execute_script(place)
    assert after[:2] == pytest.approx(before[:2], abs=1e-4)
    assert after[2] / before[2] == pytest.approx(np.exp(0.8), rel=1e-4)


def test_two_fingers_enlarge_a_figure(page):
    page.execute_script("document.querySelector('figure .zoom').click()")
    before = transform(page)
    script = """
      const stage = document.querySelector('#lightbox .stage');
      stage.setPointerCapture = () => {};
      const send = (type, pointerId, clientX) => stage.dispatchEvent(
        new PointerEvent(type, { pointerId, clientX, clientY: 300, pointerType: 'touch' }));
      send('pointerdown', 11, 400); send('pointerdown', 12, 500);
      send('pointermove', 11, 350); send('pointermove', 12, 550);
      send('pointerup', 11, 350); send('pointerup', 12, 550);
    """
    page.execute_script(script)
    assert before == "matrix(1, 0, 0, 1, 0, 0)"
    assert transform(page).startswith("matrix(2, 0, 0, 2,")


def test_every_figure_can_be_saved_as_it_is_shown(page):
    script = """
      return [...document.querySelectorAll('figure')].map((figure) => {
        const link = figure.querySelector('a[download]');
        return [link.download, link.href === figure.querySelector('img').src];
      });
    """
    links = page.execute_script(script)
    assert len(links) > 5 and all(same for _, same in links)
    assert "rmse_lead.png" in [name for name, _ in links]


def test_names_that_are_markup_are_shown_as_text(page, experiment):
    assert page.execute_script("return document.querySelectorAll('img[src=x]').length") == 0
    search(page, "scores", "src=x")
    assert set(cells(page, "scores", "region")) == {"</script><img src=x>"}


def test_colours_follow_the_scheme(page):
    light = find(page, "body").value_of_css_property("background-color")
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    assert light == "rgba(255, 255, 255, 1)"
    assert find(page, "body").value_of_css_property("background-color") == "rgba(22, 25, 29, 1)"
    assert find(page, "figure .zoom").value_of_css_property("background-color") == light


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_is_wider_than_a_small_screen(page, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert page.execute_script("return innerWidth") == width
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    wide = "return document.querySelector('#table-scores .scroll').scrollWidth"
    assert width > 700 or page.execute_script(wide) > width  # the table itself scrolls


def test_paper_shows_no_controls(page):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert not find(page, "nav").is_displayed()
    assert not find(page, "#table-scores .filters").is_displayed()
    assert find(page, "#table-scores tbody td").is_displayed()
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
