"""An interpreter that has imported what tests need, and runs each test that it is asked for in a
forked child: so it costs what that test costs.

A line of JSON for each comes on its standard input: ``{"arguments": of pytest, "environment": what
is added to it, "output": path}``. Each is answered on standard output with the exit status of
pytest. It ends with its standard input.
"""

from __future__ import annotations

import gc
import json
import os
import sys

SAVES_TIME = [
    "-p",
    "no:cacheprovider",
    "-p",
    "no:unraisableexception",
    "--hypothesis-profile=first_failure",
    "-p",
    "_hypothesis_pytestplugin",
]


def serve() -> None:
    import_what_tests_need()
    gc.freeze()  # so that no child looks through all of that again
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            run(request)
        status = os.waitpid(pid, 0)[1]
        print(os.waitstatus_to_exitcode(status), flush=True)


def import_what_tests_need() -> None:
    """Not the engine: each child has one of its own."""
    import concurrent.futures.thread  # noqa: F401
    import ctypes  # noqa: F401

    import _hypothesis_pytestplugin  # noqa: F401
    import _pytest.config
    import hypothesis
    import psutil  # noqa: F401

    _pytest.config.get_config()  # imports the plugins that pytest has of its own
    # That a property fails is enough here; the smallest example of it is not looked for, and how
    # long one takes says nothing
    hypothesis.settings.register_profile(
        "first_failure",
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        deadline=None,
    )


def run(request) -> None:
    """Never returns."""
    import pytest

    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for fd, copy in (null, 0), (output, 1), (output, 2):
        os.dup2(fd, copy)
    os.environ.update(request["environment"], PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    status = 3  # of pytest: an error in itself
    try:
        status = int(pytest.main([*SAVES_TIME, *request["arguments"]]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
