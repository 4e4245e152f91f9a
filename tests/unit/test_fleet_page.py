"""The report's page: what is on it, and that no name on it is anything but text."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import re

import pytest
from ansible_collections.provider.fleet.plugins.plugin_utils import (
    fleet_data,
    fleet_history,
    fleet_page,
    node_result,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import fleet as rig

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "]]>",
    "<!--",
    "-->",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "javascript:alert(1)",
    "&lt;b&gt;",
    "\u202egnp.exe",
    "\udcff\ud800",
    "</td></table></style>",
    "\x00<b>",
    "a\nb",
]


class Parsed(html.parser.HTMLParser):
    """tags: what begins and ends, with names of attributes. cells: texts of table cells. scripts,
    styles: texts of those elements.
    """

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.inside = [], [], {"script": [], "style": []}
        self.open = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, *(name for name, _value in attrs)))
        if tag in ("td", "script", "style"):
            self.open = tag
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        self.tags.append(("/" + tag,))
        if tag == self.open:
            self.open = None

    def handle_data(self, data):
        if self.open == "td":
            self.cells[-1] += data
        elif self.open:
            self.inside[self.open].append(data)


def page(name="x", trends=fleet_history.NO_TRENDS, **more):
    of = rig.workload(
        namespace=name,
        pod=name,
        container_name=name,
        lease={"owner": name, "dseq": name, "verified": True},
    )
    parent = rig.offender(3, name=name, executable=name, explanation=name, workload=of)
    looks = {
        "host " + name: rig.look(
            parent,
            last_sweep=rig.sweep(rig.acted(name=name, workload=of, remedy=name, outcome=name)),
        ),
        "away " + name: {"unreachable": True, "msg": "why " + name},
        "half " + name: rig.look(),
    }
    evidence = [{"by": name, "verdict": "leaks", "detail": name}]
    audits = {
        "host " + name: rig.audit(
            rig.container(init={"pid": 1, "name": name}, workload=of, evidence=evidence)
        ),
        "half " + name: {"failed": True, "msg": "why " + name},
    }
    trends = trends._replace(
        tenants=[
            {"tenant": node_result.text(name), "leaked": 1, "cleared": 1, "ended": 1, "hosts": 1}
        ]
    )
    return fleet_page.page(rig.fleet_of(looks, audits), trends, rig.AT, **more)


PLAIN = Parsed(page())


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_and_nothing_else(name):
    assert_same_but_for_text(name)


@settings(max_examples=60)
@given(
    st.text(max_size=60) | st.text(alphabet="<>\"'&/!-[]{}%=scriptyle \u202e\udcff", max_size=40)
)
def test_any_name_is_text_and_nothing_else(name):
    assert_same_but_for_text(name)


def assert_same_but_for_text(name):
    """The same elements with the same attributes as with a plain name, and the cells say what was
    given.
    """
    read = Parsed(page(name))
    assert read.tags == PLAIN.tags
    assert read.inside == PLAIN.inside
    shown = node_result.text(name)
    assert node_result.text("host " + name) in read.cells
    assert any(cell == shown for cell in read.cells) or not shown


def test_an_error_of_the_history_is_text_too():
    read = Parsed(page(no_trends="</p><script>alert(1)</script>"))
    assert read.tags == PLAIN.tags


def test_the_policy_lets_in_this_style_and_this_script_and_nothing_else():
    text = page()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text).group(1)
    (style,), (script,) = PLAIN.inside["style"], PLAIN.inside["script"]
    hashes = [
        "'sha256-%s'" % base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        for part in (style, script)
    ]
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        "style-src " + hashes[0],
        "script-src " + hashes[1],
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert text.index("Content-Security-Policy") < text.index("<style>")


def test_nothing_is_loaded_and_no_style_or_handler_is_in_an_attribute():
    text = page()
    assert (
        re.findall(
            r"https?:|//[a-z]|url\(|@import|src=(?!')", text.replace(PLAIN.inside["script"][0], "")
        )
        == []
    )
    names = {name for tag in PLAIN.tags for name in tag[1:]}
    assert not {name for name in names if name == "style" or name.startswith("on")}


def test_every_table_has_heads_and_every_row_a_cell_for_each():
    widths = [
        len(re.findall("<th ", table)) for table in re.findall("<table>.*?</table>", page(), re.S)
    ]
    cells = [
        [
            len(re.findall("<td", row))
            for row in re.findall("<tr>.*?</tr>", table.partition("<tbody>")[2], re.S)
        ]
        for table in re.findall("<table>.*?</table>", page(), re.S)
    ]
    assert len(widths) == 7
    assert [set(each) for each in cells] == [{width} for width in widths]


def test_what_is_left_out_is_said():
    looks, audits = rig.big(20, 3000)
    text = fleet_page.page(rig.fleet_of(looks, audits), fleet_history.NO_TRENDS, rig.AT)
    assert (
        "Only the worst 500 are shown here; 2,2" in text
        and "are in fleet.csv and fleet.json" in text
    )


@pytest.mark.parametrize(
    "looks, words",
    [
        ({"a": rig.look()}, "No zombies on 1 node. No node is short of PIDs."),
        (
            {"a": rig.look(rig.offender(1, outcome="left_alone", verdict="leave"))},
            "1 zombie on 1 of 1 node. No node is short of PIDs. The worst tenant is shop, with 1."
            " A sweep would act on no parent now.",
        ),
        (
            {"a": rig.look(rig.offender(1, workload=None))},
            "1 zombie on 1 of 1 node. No node is short of PIDs. A sweep would act on 1 parent now.",
        ),
        (
            {"a": rig.look(rig.offender(2500), usage=0.9), "b": rig.look()},
            "2,500 zombies on 1 of 2 nodes. 1 node is short of PIDs. The worst tenant is shop, with"
            " 2,500. A sweep would act on 1 parent now.",
        ),
        (
            {"a": rig.look(usage=0.9), "b": rig.look(seconds_to_full=100), "c": rig.FAILED},
            "No zombies on 2 nodes. 2 nodes are short of PIDs. 1 node could not be checked.",
        ),
        ({"a": rig.FAILED, "b": rig.UNREACHABLE}, "None of 2 nodes could be checked."),
    ],
)
def test_the_first_sentences(looks, words):
    done = rig.fleet_of(looks)
    assert fleet_page.lead(done) == words
    assert words in fleet_page.page(done, fleet_history.NO_TRENDS, rig.AT)


def test_where_no_node_could_be_checked_nothing_is_good_news():
    page = fleet_page.page(rig.fleet_of({"a": rig.FAILED}), fleet_history.NO_TRENDS, rig.AT)
    for good in ("No zombies", "No tenant has", "None is known to leak", ">0<"):
        assert good not in page
    assert page.count("No node could be checked.") == 5
    assert page.count(">unknown<") == 5


def test_the_page_says_which_cluster_and_which_limit():
    done = fleet_data.fleet({"a": rig.look()}, None, rig.AT, cluster="east", limit="<a>:&b")
    text = fleet_page.page(done, fleet_history.NO_TRENDS, rig.AT)
    assert "<h1>Zombies in east</h1>" in text
    assert "Only nodes of --limit &lt;a&gt;:&amp;b were asked." in text


def test_trends_are_drawn_from_the_second_run_on(tmp_path):
    fleet = rig.fleet_of({"a": rig.look(rig.offender(4), usage=0.2)})
    with fleet_history.History(str(tmp_path / "history")) as history:
        history.add(fleet, rig.AT - 7200, 400)
        once = fleet_page.page(fleet, history.trends(fleet, rig.AT), rig.AT)
        history.add(fleet, rig.AT, 400)
        twice = fleet_page.page(fleet, history.trends(fleet, rig.AT), rig.AT)
    assert "from the second report on" in once and 'class="spark"' not in once
    assert (
        'class="spark"' in twice
        and 'class="chart"' in twice
        and "4 at the start, 4 at the end, 4 at the peak" in twice
    )
    assert "2 reports since 25 November" in twice
