"""dashboard_picture.py [DIRECTORY]: draws the panels of the Grafana dashboard, light and dark, in
docs/pictures or the directory.

Grafana itself cannot be had as a package. The data are real: daemons on five nodes of the rig with
leaking pods, node_exporter and Prometheus, which answers each expression of
monitoring/grafana_dashboard.json. It takes two minutes; run it with .cache/test/bin/python.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
import tempfile
import time
import urllib.parse
from html import escape
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))
# As the tests have it
os.environ.setdefault("ANSIBLE_COLLECTIONS_PATH", str(CHECKOUT / ".cache/collections"))

from rig.browser import Browser  # noqa: E402
from rig.daemon_node import Daemon  # noqa: E402
from rig.daemons import NodeExporter, Prometheus, answer, free_port  # noqa: E402
from rig.node import Node  # noqa: E402
from rig.pods import Pods  # noqa: E402

SECONDS = 90
WIDTH, ROW = 1280, 22  # pixels; the rows are those of Grafana's grid
REPORTS_ONLY = "node4"
# Each second so many orphans are left to the PID 1 of a pod, until there are so many
LEAK = """
ready()
for number in range({most}):
    service = os.fork()
    if service == 0:
        os.setsid()
        os.fork()
        os._exit(0)
    os.waitpid(service, 0)
    time.sleep(1 / {rate})
forever()
"""
LEAKING = [  # node, namespace, name of the pod, zombies a second, most
    ("node1", "lease-7", "web", 6, 300),
    ("node1", "lease-9", "jobs", 1, 60),
    ("node2", "lease-4", "api", 3, 200),
    ("node4", "lease-7", "web", 4, 400),
]
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#7f7f7f"]
PAGE = """<!doctype html><meta charset="utf-8"><title>Dashboard</title><style>
:root {{ color-scheme: light dark }}
body {{ margin: 12px; font: 13px sans-serif; background: light-dark(#f4f5f5, #111217);
  color: light-dark(#24292f, #e6edf3); display: grid; gap: 8px;
  grid-template-columns: repeat(24, 1fr); grid-auto-rows: {row}px }}
section {{ background: light-dark(#fff, #181b1f); border: 1px solid light-dark(#d8dadd, #2c3035);
  border-radius: 3px; padding: 6px 10px; overflow: hidden }}
h2 {{ font-size: 13px; margin: 0 0 6px }}
.stat {{ font-size: 32px; text-align: center }}
svg {{ width: 100%; height: calc(100% - 44px) }}
svg text {{ fill: currentColor; font-size: 11px }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: 3px 8px;
  border-bottom: 1px solid light-dark(#e4e6e8, #2c3035) }}
.bar {{ background: light-dark(#e4e6e8, #2c3035); height: 14px }}
.bar div {{ background: #009e73; height: 14px }}
i {{ display: inline-block; width: 12px; height: 3px; margin: 0 4px 3px 12px }}
</style>{panels}"""


def main() -> int:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKOUT / "docs/pictures"
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        prometheus, began = watched_fleet(stack, scratch)
        time.sleep(max(0.0, began + SECONDS - time.time()))
        page = scratch / "dashboard.html"
        text, empty = drawn(prometheus, began, time.time())
        page.write_text(text, encoding="utf-8")
        print(f"No data in: {'; '.join(empty)}")
        browser = Browser(scratch / "profile")
        stack.callback(browser.close)
        for name in ("light", "dark"):
            browser.open(page, (WIDTH, 1000), dark=name == "dark")
            height = browser.run("return document.documentElement.scrollHeight")
            browser.open(page, (WIDTH, height), dark=name == "dark")
            shot = browser.devtools("Page.captureScreenshot", format="webp", quality=80)
            (directory / f"dashboard-{name}.webp").write_bytes(base64.b64decode(shot["data"]))
    return 0


def watched_fleet(stack, scratch):
    """(Prometheus, when it began): five nodes with daemons, and pods that begin to leak."""
    nodes, targets = {}, {}
    for name in [f"node{number + 1}" for number in range(5)]:
        own = scratch / name
        textfiles = own / "textfiles"
        textfiles.mkdir(parents=True)
        nodes[name] = Node(own)
        stack.callback(nodes[name].stop)
        exporter = NodeExporter(own, textfiles)
        stack.callback(exporter.stop)
        targets[f"{name}:9100"] = exporter.port
        remedies = "none" if name == REPORTS_ONLY else "reap"
        options = ["--remedies", remedies, "--min-age", "20"]
        daemon = Daemon(nodes[name], own, *options, "--textfile-directory", str(textfiles))
        stack.callback(daemon.stop)
    prometheus = Prometheus(scratch, {}, targets, alertmanager=free_port())
    stack.callback(prometheus.stop)
    began = time.time()
    for number, (node, namespace, name, rate, most) in enumerate(LEAKING):
        pods = Pods(nodes[node])
        stack.callback(pods.stop)
        code = LEAK.format(rate=rate, most=most)
        pods.start(number, code, namespace=namespace, name=name)
    return prometheus, began


def drawn(prometheus, began, ended) -> tuple[str, list[str]]:
    """The page, and the titles of the panels that have no data. Times in seconds of the epoch."""
    text = (CHECKOUT / "monitoring/grafana_dashboard.json").read_text(encoding="utf-8")
    panels, empty = [], []
    for panel in json.loads(text)["panels"]:
        place = panel["gridPos"]
        style = (
            f"grid-area: {place['y'] + 1} / {place['x'] + 1} / span {place['h']}"
            f" / span {place['w']}"
        )
        content = KINDS[panel["type"]](panel, Asked(prometheus, began, ended))
        if not content:
            empty.append(panel["title"])
            content = "No data"
        panels.append(f'<section style="{style}"><h2>{escape(panel["title"])}</h2>{content}')
    return PAGE.format(row=ROW, panels="</section>\n".join(panels)), empty


class Asked:
    """What Prometheus answers to the expressions of a panel, between two times."""

    def __init__(self, prometheus, began, ended):
        self.prometheus, self.began, self.ended = prometheus, began, ended

    def now(self, target) -> list:
        """``[(labels, value), ...]``"""
        found = self._api("query", target, time=self.ended)
        return [(each["metric"], float(each["value"][1])) for each in found]

    def over_time(self, target) -> list:
        """``[(labels, [(time, value), ...]), ...]``"""
        found = self._api("query_range", target, start=self.began, end=self.ended, step=1)
        return [
            (each["metric"], [(when, float(value)) for when, value in each["values"]])
            for each in found
        ]

    def _api(self, what, target, **parameters) -> list:
        expression = target["expr"]
        for name, value in {
            "$job": ".*",
            "$instance": ".*",
            "$__rate_interval": "10s",
            "$__range": f"{SECONDS}s",
        }.items():
            expression = expression.replace(name, value)
        asked = urllib.parse.urlencode({"query": expression, **parameters})
        return answer(self.prometheus.port, f"/api/v1/{what}?{asked}")["data"]["result"]


def stat(panel, asked) -> str:
    [(_labels, value)] = asked.now(panel["targets"][0])
    return f'<div class="stat">{shown(value, panel)}</div>'


def bar_gauge(panel, asked) -> str:
    target = panel["targets"][0]
    rows = [
        f"<tr><td>{escape(legend(target, labels))}<td width='70%'><div class=bar>"
        f"<div style='width: {min(1, value):.1%}'></div></div><td>{shown(value, panel)}"
        for labels, value in asked.now(target)
    ]
    return f"<table>{''.join(rows)}</table>"


def table(panel, asked) -> str:
    [changes] = [each["options"] for each in panel["transformations"]]
    rows = [
        {**labels, "Value": shown(value, panel)} for labels, value in asked.now(panel["targets"][0])
    ]
    if not rows:
        return ""
    names = {name for row in rows for name in row} - set(changes["excludeByName"])
    order = sorted(names, key=lambda name: (changes["indexByName"].get(name, 99), name))
    heads = "".join(f"<th>{escape(changes['renameByName'].get(name, name))}" for name in order)
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(row.get(name, ''))}" for name in order) for row in rows
    )
    return f"<table><tr>{heads}{lines}</table>"


def time_series(panel, asked) -> str:
    lines = [
        (legend(target, labels), points)
        for target in panel["targets"]
        for labels, points in asked.over_time(target)
    ]
    if not lines:
        return ""
    most = max(value for _name, points in lines for _when, value in points) or 1.0
    parts, names = [], []
    for share in (0, 0.5, 1):
        y = 180 - 170 * share
        parts.append(f'<path d="M60 {y} H600" stroke="#888" stroke-opacity=".4"/>')
        parts.append(
            f'<text x="54" y="{y + 4}" text-anchor="end">{shown(share * most, panel)}</text>'
        )
    for number, (name, points) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        places = " ".join(
            f"{60 + 540 * (when - asked.began) / (asked.ended - asked.began):.1f},"
            f"{180 - 170 * value / most:.1f}"
            for when, value in points
        )
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{places}"/>'
        )
        names.append(f'<i style="background: {colour}"></i>{escape(name)}')
    return (
        f'<svg viewBox="0 0 600 190" preserveAspectRatio="none">{"".join(parts)}</svg>'
        + "".join(names)
    )


def legend(target, labels) -> str:
    """``{{instance}}`` as Grafana fills it in."""
    text = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def shown(value, panel) -> str:
    """In the unit of the panel."""
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "s":
        return f"{value / 86400:.1f} days" if value > 172800 else f"{value / 60:.0f} min"
    return f"{value:,.3g}" if value < 10 else f"{value:,.0f}"


KINDS = {"stat": stat, "bargauge": bar_gauge, "table": table, "timeseries": time_series}

if __name__ == "__main__":
    sys.exit(main())
