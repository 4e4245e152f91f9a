"""pictures.py [DIRECTORY]: makes the pictures of README and docs, light and dark, in docs/pictures
or the directory.

What they show is real: five nodes of the rig with leaking pods, whose summary is drawn as a
terminal shows it, and the page of the report about them in Chromium. The sweep waits for a minute
(min_age). ./run-tests installs all that this needs; run it with .cache/test/bin/python.
"""

from __future__ import annotations

import base64
import contextlib
import os
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))
# As the tests have it
os.environ.setdefault("ANSIBLE_COLLECTIONS_PATH", str(CHECKOUT / ".cache/collections"))

from rich.console import Console  # noqa: E402
from rich.terminal_theme import TerminalTheme  # noqa: E402
from rich.text import Text  # noqa: E402
from rig.browser import Browser  # noqa: E402
from rig.node_fleet import node_fleet  # noqa: E402
from rig.pods import Pods  # noqa: E402

COLUMNS = 100
PAGE = (1280, 1000)  # pixels
ANSI = [(0, 0, 0), (205, 49, 49), (13, 140, 80), (150, 120, 0), (36, 114, 200), (188, 63, 188)]
ANSI += [(17, 168, 205), (102, 102, 102)]
THEMES = {
    "light": TerminalTheme((255, 255, 255), (36, 41, 47), ANSI),
    "dark": TerminalTheme((13, 17, 23), (230, 237, 243), ANSI),
}
# Without the fonts that Rich would have from the web: no picture asks anybody for anything
SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<style>
.{unique_id}-matrix {{ font: {char_height}px monospace; line-height: {line_height}px }}
.{unique_id}-title {{ font: bold 18px sans-serif }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""

# A PID 1 that collects no orphans: of each service that it starts, one stays as a zombie.
LEAK = """
for _ in range(%d):
    service = os.fork()
    if service == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os._exit(0)
    os.waitpid(service, 0)
ready()
forever()
"""

LEAKING = [  # node, namespace, name of the pod, zombies
    ("node1", "lease-7", "web", 214),
    ("node1", "lease-9", "jobs", 31),
    ("node2", "lease-4", "api", 96),
    ("node4", "lease-7", "web", 187),
]


def main() -> int:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKOUT / "docs/pictures"
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        play, nodes = stack.enter_context(node_fleet(scratch, 5))
        destination = scratch / "report"

        def leaks(number):
            node, namespace, name, zombies = LEAKING[number]
            pods = Pods(nodes[node])
            stack.callback(pods.stop)
            pods.start(number, LEAK % zombies, namespace=namespace, name=name)

        def played(name, **variables):
            done = play(f"{name}.yml", zombie_reaper_min_age=60, **variables)
            if not done.succeeded:
                sys.exit(f"{name} failed:\n{done.text}")
            return f"ansible-playbook provider.fleet.{name}", summary(done)

        leaks(0)
        leaks(1)
        played("report", zombie_reaper_report_dest=str(destination))
        leaks(2)
        leaks(3)
        shown = [played("look")]
        played("report", zombie_reaper_report_dest=str(destination))
        photograph(directory, destination / "fleet.html", scratch / "profile")
        shown += [played("sweep"), played("look")]
        draw_terminal(directory, shown)
    return 0


def summary(played) -> list:
    """The lines below its heading."""
    _before, _heading, after = played.text.partition("\nZOMBIES ***")
    return after.strip("\n").splitlines()[1:]


def draw_terminal(directory, shown) -> None:
    """shown: ``[(command, lines), ...]``."""
    for name, theme in THEMES.items():
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
            for number, (command, lines) in enumerate(shown):
                if number:
                    console.print()
                console.print(Text.assemble(("$ ", "green"), (command, "bold")))
                for line in lines:
                    console.print(Text(line))
            svg = console.export_svg(title="a fleet of five nodes", theme=theme, code_format=SVG)
        (directory / f"terminal-{name}.svg").write_text(svg, encoding="utf-8")


def photograph(directory, page, profile) -> None:
    """The page as a browser shows it."""
    browser = Browser(profile)
    try:
        for name in THEMES:
            browser.open(page, PAGE, dark=name == "dark")
            shot = browser.devtools("Page.captureScreenshot", format="webp", quality=80)
            (directory / f"page-{name}.webp").write_bytes(base64.b64decode(shot["data"]))
    finally:
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
