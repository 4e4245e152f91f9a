# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last sweep of this node did, read from the report that it left."""

from __future__ import annotations

import os

from .paths import LAST_REPORT, Paths
from .report import SCHEMA

MAX_REPORT_BYTES = 16 << 20  # bytes; five times what the biggest report is
MAX_ACTED_ON = 100


def last_sweep(paths: Paths) -> tuple:
    """(what the last sweep on this node did, warning); None where there is none of it.

    The first is a dictionary with ``at`` (float, seconds since the epoch at its end), ``counts``,
    ``duration``, ``ended_early`` and ``offenders``, those that it acted on and at most
    :data:`MAX_ACTED_ON`, as :func:`.report.as_dict` has them.
    """
    import stat

    path = os.path.join(paths.run, LAST_REPORT)
    try:
        with open(
            os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb"
        ) as file:
            status = os.fstat(file.fileno())
            if (
                not stat.S_ISREG(status.st_mode)
                or status.st_uid != os.geteuid()
                or status.st_mode & 0o022
            ):
                return None, f"{path} was not read: it is not a file that only root can write"
            if status.st_size > MAX_REPORT_BYTES:
                raise ValueError(path)
            return _acted_on(file.read(MAX_REPORT_BYTES), status.st_mtime), None
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, f"{path} was not read: {error.strerror}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, f"{path} was not read: it is no report of this version"


def _acted_on(text, at) -> dict:
    import json

    told = json.loads(text)
    if told["schema"] != SCHEMA:
        raise ValueError(told["schema"])
    acted = [
        offender
        for offender in told["offenders"]
        if offender["outcome"] not in ("left_alone", "would_act")
    ]
    return {
        "at": round(at, 3),
        **{key: told[key] for key in ("counts", "duration", "ended_early")},
        "offenders": acted[:MAX_ACTED_ON],
    }
