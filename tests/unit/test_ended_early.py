"""A module that ended early tells the node's journal: its result may have no reader."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.provider.fleet.plugins.module_utils import sweep_module
from ansible_collections.provider.fleet.plugins.module_utils.reaper import log, report, sweep


@pytest.mark.parametrize("ended_early", [True, False])
def test_what_the_journal_is_told(monkeypatch, ended_early):
    told, asked = [], {}

    def swept(_options, _paths, **given):
        asked.update(given)
        return SimpleNamespace(ended_early=ended_early)

    monkeypatch.setattr(sweep, "sweep", swept)
    monkeypatch.setattr(report, "as_lines", lambda _done: ["1 zombie", "warning: it has gone"])
    monkeypatch.setattr(report, "as_dict", lambda _done: {"warnings": []})
    monkeypatch.setattr(log, "to_syslog", told.append)
    module = SimpleNamespace(_diff=False)
    sweep_module.run_sweep(module, {}, check_mode=False, wait=True)
    assert told == (["1 zombie", "warning: it has gone"] if ended_early else [])
    assert asked["reader"] == 1
