"""Break the engine in a copy, and run a test on that."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from rig.node import CHECKOUT

DIRECTORY = "collections/ansible_collections/provider/fleet"


class Forking:
    """The interpreter of forking.py, which runs one test after the other."""

    def __init__(self):
        self.popen = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("forking.py")],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def pytest(self, arguments, environment, output) -> int:
        """Run pytest in a forked child; its exit status. output: path for what it says.
        environment: what is added to it.
        """
        request = {"arguments": arguments, "environment": environment, "output": str(output)}
        self.popen.stdin.write(json.dumps(request) + "\n")
        self.popen.stdin.flush()
        return int(self.popen.stdout.readline())

    def stop(self):
        self.popen.stdin.close()
        self.popen.wait()
        self.popen.stdout.close()


def assert_goes_red(forking, directory, changes, test):
    """changes: (file of the engine, text that stands there once, what stands there then), all at
    once. test: as pytest names it.
    """
    engine = broken_copy(directory, changes)
    output = directory / "output"
    status = forking.pytest(
        [
            "-q",
            "-x",
            "-o",
            f"pythonpath={directory / 'collections'} tests",
            "--basetemp",
            str(directory / "inner"),
            test,
        ],
        {"REAPER_ENGINE": str(engine)},
        output,
    )
    said = output.read_text(encoding="utf-8", errors="replace")
    assert status == 1, (
        f"the test stayed green, or was none (exit status {status} of pytest):\n{said[-2000:]}"
    )
    # what it started may still say something after that
    assert re.search(r"^=* ?1 failed\b", said, re.M), said[-2000:]


def broken_copy(directory, changes) -> Path:
    """The directory of module_utils in a copy of the plugins. What Python has compiled is copied too,
    but for the files that are changed.
    """
    plugins = directory / DIRECTORY / "plugins"
    shutil.copytree(CHECKOUT / "plugins", plugins)
    utils = plugins / "module_utils"
    for file, old, new in changes:
        path = utils / "reaper" / file
        path.write_text(replaced(path.read_text(encoding="utf-8"), old, new), encoding="utf-8")
        Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)
    return utils


def replaced(text, old, new) -> str:
    """text, where old stands once, with new in its place. How the formatter has broken lines, and
    which quotes it has taken, makes no difference.
    """
    found = list(re.finditer(pattern_of(old), text))
    assert len(found) == 1, f"that stands there {len(found)} times, and not once: {old}"
    (place,) = found
    return text[: place.start()] + new + text[place.end() :]


def pattern_of(code) -> str:
    """A regular expression for a piece of code as the formatter may have laid it out."""
    pattern = ""
    for part in re.findall(r"\s+|\w+|.", code):
        if part.isspace():
            pattern += re.escape(part) if "\n" in part or not pattern else r"\s+"
        elif part in "\"'":
            pattern += "[\"']"
        elif part in "([{":
            pattern += re.escape(part) + r"\s*"
        elif part in ")]}":
            pattern += r",?\s*" + re.escape(part)
        else:
            pattern += re.escape(part)
    return pattern
