"""Parents that had not stopped in time are let go when they do, however many sweeps of the same
process went by since.
"""

from __future__ import annotations

import os
import signal

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies import reap


class Late:
    """A tracee that has not stopped yet."""

    stopped = False
    asked = 0

    def release_if_stopped(self):
        self.asked += 1
        return self.stopped


@pytest.fixture(autouse=True)
def sigchld():
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGCHLD, before)


def test_one_of_an_earlier_sweep_is_let_go_by_sigchld():
    first, second = Late(), Late()
    reap._let_go_of([first])
    reap._let_go_of([second])
    first.stopped = True
    asked = first.asked
    os.kill(os.getpid(), signal.SIGCHLD)
    assert first.asked == asked + 1
    os.kill(os.getpid(), signal.SIGCHLD)
    assert first.asked == asked + 1, "it was let go, and is held still"


def test_one_whose_sigchld_went_elsewhere_is_let_go_by_the_next_sweep():
    late = Late()
    reap._let_go_of([late])
    late.stopped = True
    reap._let_go_of([])
    assert late.asked == 2


def test_sigchld_is_left_alone_where_nobody_is_late():
    reap._let_go_of([])
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL


def test_one_that_is_being_released_is_not_released_inside_of_that():
    """Each step of a release stops the tracee again, and each stop raises SIGCHLD."""

    class Stopping(Late):
        inside = most_inside = 0

        def release_if_stopped(self):
            self.inside += 1
            self.most_inside = max(self.inside, self.most_inside)
            if self.asked < 3:
                self.asked += 1
                os.kill(os.getpid(), signal.SIGCHLD)
            self.inside -= 1
            return super().release_if_stopped()

    tracee = Stopping()
    reap._let_go_of([tracee])
    assert tracee.most_inside == 1
    tracee.stopped, asked = True, tracee.asked
    os.kill(os.getpid(), signal.SIGCHLD)
    assert tracee.asked > asked, "what came meanwhile counts"
