# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the engine raises when it cannot go on. Each message is one sentence for people."""

from __future__ import annotations


class CannotSweep(Exception):
    """This node lacks something that a sweep needs. The message says what."""


class Busy(CannotSweep):
    """Another sweep holds the lock."""


class OptionError(ValueError):
    """An option is invalid. The message names it, its value and what is allowed."""


class NoSuchProcess(Exception):
    """There is no process with that PID on this node. The message says so."""


class CannotSignIn(Exception):
    """The kubelet's credential cannot be used. The message says why, and has nothing secret."""
