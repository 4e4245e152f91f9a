"""Break the engine in a copy, and run a test on that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from rig.node import CHECKOUT, ENGINE


def assert_goes_red(tmp_path, changes, test):
    """changes: (file of the engine, text that stands there once, what stands there then), all at once. test: as pytest names it."""
    collection = tmp_path / "collections/ansible_collections/provider/fleet"
    utils = collection / "plugins/module_utils"
    shutil.copytree(CHECKOUT / "plugins", collection / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ENGINE, utils, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    for file, old, new in changes:
        path = utils / "reaper" / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, "%s no longer has that line once: %s" % (file, old)
        path.write_text(text.replace(old, new), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test,
         "-o", "pythonpath=%s tests" % (tmp_path / "collections"), "--basetemp", str(tmp_path / "inner")],
        cwd=CHECKOUT, env={**os.environ, "REAPER_ENGINE": str(utils)}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 1, "the test stayed green:\n" + done.stdout[-2000:]
    assert " failed" in done.stdout.splitlines()[-1]
