"""The report's page in a real browser: seen, sorted, filtered, without scripts, in the dark, on a
phone, and with a big fleet.

Screenshots are kept in pytest's directory of the run; its path is printed.
"""

from __future__ import annotations

import time

import pytest
from ansible_collections.provider.fleet.plugins.plugin_utils import fleet_history, fleet_page
from rig import fleet as rig
from rig.browser import DESKTOP, PHONE, Browser
from selenium.webdriver.common.by import By

TIMEOUT = 300  # seconds
HOSTILE = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
CELLS = (
    "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].filter(row =>"
    " row.offsetParent).map(row => row.cells[arguments[1]].textContent)"
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("report")
    print("screenshots are in", directory)
    return directory


@pytest.fixture(scope="module")
def fleet():
    """30 nodes, one of them with a hostile workload."""
    looks, audits = rig.big(30, 400)
    looks["node001"]["offenders"].insert(
        0, rig.offender(9999, name=HOSTILE, workload=rig.workload(pod=HOSTILE))
    )
    return rig.fleet_of(looks, audits)


@pytest.fixture(scope="module")
def page(directory, fleet):
    """Of that fleet, with a month of history."""
    file = directory / "fleet.html"
    file.write_text(
        fleet_page.page(fleet, rig.history_of(directory / "history", 30, 400, 30), rig.AT),
        encoding="utf-8",
    )
    return file


@pytest.fixture(scope="module")
def browser(directory):
    opened = Browser(directory / "profile")
    opened.driver.set_script_timeout(TIMEOUT)
    yield opened
    opened.close()


def cells(browser, table, column):
    return browser.run(CELLS, table, column)


def numbers(browser, table, column):
    return [
        float(cell.replace(",", "").rstrip(" %") or "-1") for cell in cells(browser, table, column)
    ]


def click(browser, table, title):
    """The head of that title; what it then says of the order."""
    (head,) = [
        head
        for head in browser.driver.find_elements(By.CSS_SELECTOR, table + " th")
        if head.text == title
    ]
    head.find_element(By.TAG_NAME, "button").click()
    return head.get_attribute("aria-sort")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_and_nothing_is_wrong_with_it(browser, page, directory, size, dark):
    browser.open(page, size, dark)
    browser.screenshot(directory / ("%d-%s.png" % (size[0], "dark" if dark else "light")))
    assert browser.run("return document.documentElement.scrollWidth") <= size[0], (
        "the page scrolls sideways"
    )
    red, green, blue = browser.run(
        "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (red + green + blue < 200) is dark
    assert browser.complaints() == []
    assert browser.requests() == []


PAPER = 718, 1047  # pixels of A4 between the margins that Chromium has


@pytest.mark.parametrize("media, size", [("print", PAPER), ("screen", DESKTOP)])
def test_no_column_is_cut_off(browser, page, media, size):
    """On paper nobody can scroll to the last column, and on a desktop nobody should have to."""
    browser.open(page, size)
    browser.devtools("Emulation.setEmulatedMedia", media=media)
    wider = browser.run(
        "return [...document.querySelectorAll('.scroll')].filter(box =>"
        " box.scrollWidth > box.clientWidth).map(box => box.parentElement.id)"
    )
    browser.devtools("Emulation.setEmulatedMedia", media="")
    assert wider == []


def test_no_two_rows_are_equal_on_a_phone(browser, directory):
    """Columns that are left out there tell one replica of a workload from the next."""
    replicas = {
        f"node{number}": rig.look(
            rig.offender(3, pid=100),
            rig.offender(3, pid=200),
            last_sweep=rig.sweep(rig.acted(pid=100), rig.acted(pid=200)),
        )
        for number in range(8)
    }
    done = rig.fleet_of(replicas, {host: rig.audit(rig.container()) for host in replicas})
    file = directory / "replicas.html"
    file.write_text(fleet_page.page(done, fleet_history.NO_TRENDS, rig.AT), encoding="utf-8")
    for size in (PHONE, DESKTOP):
        browser.open(file, size)
        for table, count in (("#workloads", 16), ("#inits", 8), ("#done", 16), ("#nodes", 8)):
            rows = browser.run(
                "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].map(row =>"
                " row.innerText)",
                table,
            )
            assert len(rows) == len(set(rows)) == count, (size, table, rows[:3])
        assert browser.run("return document.documentElement.scrollWidth") <= size[0]
    browser.screenshot(directory / "replicas.png")


def test_a_hostile_name_runs_nothing_and_is_shown(browser, page):
    browser.open(page)
    assert browser.driver.title.startswith("Zombies in the fleet")
    assert browser.run("return [document.scripts.length, document.images.length]") == [1, 0]
    assert cells(browser, "#workloads", 3)[0] == HOSTILE
    assert HOSTILE in cells(browser, "#workloads", 1)[0]


def test_the_policy_holds_for_what_might_get_in(browser, page):
    """A script that was put into the page by other means does not run."""
    browser.open(page)
    browser.run(
        "const script = document.createElement('script'); script.textContent = \"document.title ="
        " 'run'\"; document.body.append(script)"
    )
    browser.run(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.invalid/x\""
        ' onerror="document.title = 1">\')'
    )
    assert browser.driver.title.startswith("Zombies in the fleet")
    assert all("Content Security Policy" in complaint for complaint in browser.complaints())
    assert [
        address
        for address in browser.requests()
        if not address.startswith("https://example.invalid")
    ] == []


def test_a_click_sorts_and_another_turns_it_round(browser, page):
    browser.open(page)
    before = numbers(browser, "#nodes", 4)
    assert click(browser, "#nodes", "Zombies") == "descending"
    assert numbers(browser, "#nodes", 4) == sorted(before, reverse=True) != before
    assert click(browser, "#nodes", "Zombies") == "ascending"
    assert numbers(browser, "#nodes", 4) == sorted(before)
    assert click(browser, "#nodes", "Node") == "ascending"
    names = cells(browser, "#nodes", 0)
    assert names == sorted(names)
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "#nodes th[aria-sort]")) == 1
    assert click(browser, "#workloads", "Oldest") == "descending", "a table of its own"


def test_what_is_not_known_comes_last_either_way(browser, page):
    browser.open(page)
    for order in ("descending", "ascending"):
        assert click(browser, "#nodes", "Full in") == order
        found = cells(browser, "#nodes", 3)
        known = [bool(cell) for cell in found]
        sortable = browser.run(
            "return [...document.querySelectorAll('#nodes tbody tr')].map(row =>"
            " row.cells[3].hasAttribute('data-sort'))"
        )
        assert any(known) and sortable == sorted(sortable, reverse=True) and False in sortable


def test_the_keyboard_sorts_too(browser, page):
    browser.open(page)
    browser.run("document.querySelector('#nodes th button').focus()")
    browser.driver.switch_to.active_element.send_keys("\ue007")  # Enter
    assert (
        browser.run("return document.querySelector('#nodes th').getAttribute('aria-sort')")
        == "ascending"
    )


def test_a_filter_shows_the_rows_that_have_all_its_words(browser, page):
    browser.open(page)
    everything = cells(browser, "#workloads", 0)
    field = browser.driver.find_element(By.CSS_SELECTOR, "#workloads input")
    field.send_keys("NODE003 act")
    shown = cells(browser, "#workloads", 0)
    assert set(shown) == {"node003"} and 0 < len(shown) < len(everything)
    assert (
        browser.driver.find_element(By.CSS_SELECTOR, "#workloads output").text
        == f"{len(shown)} of {len(everything)} rows"
    )
    click(browser, "#workloads", "PID")
    assert sorted(cells(browser, "#workloads", 0)) == sorted(shown), "sorting keeps the filter"
    field.clear()
    field.send_keys("<script>")
    assert len(cells(browser, "#workloads", 0)) == 1
    assert len(cells(browser, "#nodes", 0)) == 28, "the other tables are as they were"


def test_it_reads_without_scripts(page, directory, fleet):
    browser = Browser(directory / "without", scripts=False)
    try:
        browser.open(page)
        browser.screenshot(directory / "without-scripts.png")
        rows = browser.driver.find_elements(By.CSS_SELECTOR, "#workloads tbody tr")
        assert len(rows) == len(fleet["offenders"])
        assert rows[0].is_displayed() and HOSTILE in rows[0].text
        assert browser.driver.find_elements(By.CSS_SELECTOR, "button, input") == [], (
            "nothing that does nothing"
        )
        assert (
            browser.driver.find_element(By.CSS_SELECTOR, "#nodes th[aria-sort]").text == "PIDs used"
        )
    finally:
        browser.close()


def test_everything_has_a_name_for_those_who_cannot_see_it(browser, page):
    browser.open(page)
    assert (
        browser.run(
            "return [...document.querySelectorAll('th')].filter(head => head.scope !== 'col' ||"
            " !head.textContent.trim()).length"
        )
        == 0
    )
    assert (
        browser.run(
            "return [...document.querySelectorAll('input, button')].filter(each => !each.ariaLabel"
            " && !each.textContent).length"
        )
        == 0
    )
    assert (
        browser.run(
            "return [...document.querySelectorAll('svg')].filter(each => !each.ariaHidden &&"
            " !each.ariaLabel).length"
        )
        == 0
    )
    assert (
        browser.run(
            "return [...document.querySelectorAll('section')].filter(each => !each.ariaLabel &&"
            " !document.getElementById(each.getAttribute('aria-labelledby'))).length"
        )
        == 0
    )
    assert browser.run(
        "return [document.documentElement.lang, document.querySelectorAll('h1').length]"
    ) == ["en", 1]


LUMINANCES = """
const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
};
const ground = (each) => {
    for (; each; each = each.parentElement) {
        const colour = getComputedStyle(each).backgroundColor;
        if (!colour.endsWith(', 0)')) return colour;
    }
};
return [...document.querySelectorAll('h1, h2, p, b, td, th, a, li, output')].filter((each) => each.offsetParent).map((each) => {
  const [a, b] = [luminance(getComputedStyle(each).color), luminance(ground(each))].sort((x, y) => y - x);
  return [(a + 0.05) / (b + 0.05), each.tagName + '.' + each.className];
});
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out_from_its_ground(browser, page, dark):
    """At least 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    browser.open(page, dark=dark)
    assert [found for found in browser.run(LUMINANCES) if found[0] < 4.5] == []


@pytest.mark.full
def test_500_nodes_and_20000_offenders_open_at_once(browser, directory):
    """Within 2 s on a machine with nothing else to do. What is asserted holds on any: how often all
    of it had to be laid out anew.
    """
    looks, audits = rig.big(500, 20000)
    trends = rig.history_of(directory / "big-history", 500, 2000, 30, step=72)
    began = time.perf_counter()
    text = fleet_page.page(rig.fleet_of(looks, audits), trends, rig.AT)
    made = time.perf_counter() - began
    file = directory / "big.html"
    file.write_text(text, encoding="utf-8")
    began = time.perf_counter()
    browser.open(file)
    browser.run("return new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    opened = time.perf_counter() - began
    browser.devtools("Performance.enable")
    layouts = laid_out(browser)
    began = time.perf_counter()
    click(browser, "#workloads", "PID")
    browser.driver.find_element(By.CSS_SELECTOR, "#workloads input").send_keys("node01")
    used = time.perf_counter() - began
    layouts = laid_out(browser) - layouts
    print(
        f"500 nodes, 20,000 offenders: made in {made:.2f} s, {len(text) / 1e6:.1f} MB,"
        f" opened in {opened:.2f} s, sorted and"
        f" filtered in {used:.2f} s with {layouts} layouts"
    )
    browser.screenshot(directory / "big.png")
    assert len(cells(browser, "#nodes", 0)) == 498
    assert set(cells(browser, "#workloads", 0)) <= {f"node01{digit}" for digit in range(10)}
    assert browser.complaints() == [] and browser.requests() == []
    assert len(text) < 2e6, "however many offenders there are"
    assert layouts < 100, "each row, or so, was laid out alone"


def laid_out(browser) -> int:
    """How often so far."""
    return next(
        metric["value"]
        for metric in browser.devtools("Performance.getMetrics")["metrics"]
        if metric["name"] == "LayoutCount"
    )
