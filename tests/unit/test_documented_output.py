"""What the pages show as output is what the program prints."""

from __future__ import annotations

import pytest
from ansible_collections.provider.fleet.plugins.module_utils.reaper import audit, policy, pressure
from ansible_collections.provider.fleet.plugins.module_utils.reaper.kernel import cgroups, limits
from ansible_collections.provider.fleet.plugins.module_utils.reaper.node import cures, inits
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies import termination_log
from rig import handmade
from rig.documents import blocks
from rig.node import CHECKOUT


def shown(page, first) -> str:
    """The text of the page's block that begins so."""
    (text,) = [
        block.text
        for block in blocks()
        if block.page == page and block.language == "text" and block.text.startswith(first)
    ]
    return text


def test_the_message_to_the_owner_of_a_container():
    offender = handmade.container_process(
        zombies=tuple(handmade.orphan(100 + number, age=75.0) for number in range(41)),
        status=handmade.status((50, 1)),
    )
    on_page = shown("docs/why-was-i-ended.md", "2027")
    room = pressure.at(1843, 2048, limits.Forecast(), 0.5, where="pod1")
    said = termination_log.message(offender, policy.in_words(room), 1.8e9)
    assert " ".join(on_page.split()) == said.strip()


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("were started by other programs and left to PID 1", cures.Kept(left_to_init=3)),
        ("count as started by the program that keeps them", cures.Kept(of_others=3)),
        (
            "count as started by PID 1 itself, since it collects orphans",
            cures.Kept(of_init=3, init_collects=True),
        ),
        ("may be PID 1's own", cures.Kept(of_init=3)),
        ("left to a subreaper", cures.Kept(left_to_others=3)),
    ],
)
def test_what_it_says_of_the_cure(sentence, kept):
    page = (CHECKOUT / "docs/why-was-i-ended.md").read_text(encoding="utf-8")
    assert f"| `{sentence}` |" in page
    assert sentence in cures.in_words(kept, cures.POD)


def container(pid, name, of, verdict, current, orphans):
    """One of the audit on the page, with Docker."""
    return audit.Container(
        init=handmade.container_process(pid, comm=name.encode(), zombies=()),
        workload=handmade.workload(
            container_id=f"{pid:04x}" * 16, container_name=of, runtime="docker"
        ),
        evidence=(inits.Evidence("name", verdict, f"it is called {name}"),),
        seconds=None,
        zombies=orphans,
        pids=cgroups.Pids(current, 1024, "/"),
        forecast=limits.Forecast(),
        pid_limit=1024,
        of_init=(orphans, 0),
    )


def test_an_audit():
    done = audit.Audit(
        containers=(
            container(9554, "sleep", "web", inits.LEAKS, 45, 41),
            container(8101, "tini", "jobs", inits.REAPS, 9, 0),
        ),
        left=0,
        warnings=(),
    )
    table, legend = audit.as_lines(done)[:4], audit.as_lines(done)[4:]
    on_page = shown("docs/audit.md", "2 containers").splitlines()
    assert on_page[:4] == table
    assert " ".join(" ".join(on_page[4:]).split()) == " ".join(legend)
