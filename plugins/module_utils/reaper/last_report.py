# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last sweep of this node did, read from the report that it left."""

from __future__ import annotations

import os

from .paths import LAST_REPORT, Paths
from .report import SCHEMA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_REPORT_BYTES = 16 << 20  # five times the largest report
MAX_ACTED_ON = 100


def last_sweep(paths: Paths) -> tuple[dict[str, Any] | None, str | None]:
    """What the last sweep on this node did, and a warning; either may be None.

    The dictionary has ``at`` (seconds since the epoch at the end of the sweep) and, as in
    :func:`.report.as_dict`, ``counts``, ``duration``, ``ended_early`` and ``offenders``; of these
    at most :data:`MAX_ACTED_ON` that were acted on.
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
        return None, f"{path} was not read: it is not a report of this version"


def _acted_on(text: bytes, at: float) -> dict[str, Any]:
    import json

    report = json.loads(text)
    if report["schema"] != SCHEMA:
        raise ValueError(report["schema"])
    acted = [
        offender
        for offender in report["offenders"]
        if offender["outcome"] not in ("left_alone", "would_act")
    ]
    return {
        "at": round(at, 3),
        **{key: report[key] for key in ("counts", "duration", "ended_early")},
        "offenders": acted[:MAX_ACTED_ON],
    }
