"""Notes for tenants: what they say, that they say nothing of others, and that no name in them is
anything but text.
"""

from __future__ import annotations

import os

import pytest
from ansible_collections.provider.fleet.plugins.plugin_utils import fleet_files, tenant_notes
from ansible_collections.provider.fleet.plugins.plugin_utils.tenant_notes import Tenant
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rig import fleet as rig
from rig.node import CHECKOUT

MARKDOWN = MarkdownIt("gfm-like", {"html": True, "linkify": False})
HOSTILE = [
    "`",
    "``` a",
    "a`b``c",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![x](https://example.org/x.png)",
    "</code>",
    "a|b",
    "**b**",
    "https://example.org",
    "@everyone",
    "  ",
    " a ",
    "a\nb",
    "# a",
    "\\`",
    "../../etc/passwd",
    "é\u202e",
]
NAMES = st.text(max_size=40) | st.text(alphabet="`\\*_[](){}<>#+-.!|~& \n", max_size=30)


def lease(owner="akash1qq", verified=True):
    numbers = {"dseq": "123", "gseq": "1", "oseq": "1"}
    return {"owner": owner, **numbers, "provider": None, "verified": verified}


def in_namespace(namespace, **changes):
    return rig.workload(namespace=namespace, **changes)


def notes_of(*offenders, containers=(), acted=()):
    look = rig.look(*offenders, last_sweep=rig.sweep(*acted) if acted else None)
    fleet = rig.fleet_of({"secret-node": look}, {"secret-node": rig.audit(*containers)})
    return tenant_notes.notes(fleet, rig.AT)


def example():
    """What the note in docs/tenant-note.md is about."""
    shop = in_namespace("shop", pod="web-0", container_name="app")
    worker = in_namespace("shop", pod="jobs-0", container_name="worker")
    return notes_of(
        rig.offender(
            40,
            name="node",
            pid=4700,
            init_pid=4700,
            workload=shop,
            claims={"orphan": 40, "may_be_waited_for": 0},
            leaking_per_hour=12.0,
            oldest_age=3 * 3600,
        ),
        rig.offender(
            3,
            name="python3",
            workload=worker,
            claims={"orphan": 0, "may_be_waited_for": 3},
            oldest_age=15 * 60,
        ),
        containers=[rig.container("leaks", 40, workload=shop, init={"pid": 4700, "name": "node"})],
        acted=[rig.acted(25, name="node", workload=shop)],
    )


def test_the_example_in_the_documentation():
    (name,) = example()
    assert name == "namespace-shop.md"
    documentation = (CHECKOUT / "docs/tenant-note.md").read_text(encoding="utf-8")
    assert f"````markdown\n{example()[name]}````\n" in documentation


def test_a_note_for_each_owner_and_each_namespace():
    made = notes_of(
        rig.offender(3, workload=in_namespace("shop")),
        rig.offender(4, workload=in_namespace("lease-1", lease=lease())),
        rig.offender(5, workload=in_namespace("lease-2", lease=lease())),
        rig.offender(2, workload=in_namespace("game", lease=lease(verified=False))),
        rig.offender(1, workload=rig.workload(namespace=None, pod=None, pod_uid=None)),
    )
    assert sorted(made) == ["namespace-game.md", "namespace-shop.md", "owner-akash1qq.md"]
    assert "9 zombies in your containers" in made["owner-akash1qq.md"]
    assert "(lease `123/1/1`)" in made["owner-akash1qq.md"]
    assert "akash1qq" not in made["namespace-game.md"], "anybody can claim somebody's lease"


def test_nothing_of_others_is_in_a_note():
    """A namespace that is called like an owner is another tenant."""
    theirs = in_namespace("akash1qq", pod="victim-pod", container_name="victim")
    owned = in_namespace("lease-1", pod="other-pod", container_name="other", lease=lease())
    made = notes_of(
        rig.offender(3, name="victims", workload=theirs),
        rig.offender(4, name="others", workload=owned),
        containers=[
            rig.container(workload=theirs, init={"pid": 1, "name": "victims-init"}),
            rig.container(workload=owned, init={"pid": 1, "name": "others-init"}),
        ],
        acted=[
            rig.acted(1, name="victims-parent", workload=theirs),
            rig.acted(2, name="others-parent", workload=owned),
        ],
    )
    assert set(made) == {"namespace-akash1qq.md", "owner-akash1qq.md"}
    assert "other" not in made["namespace-akash1qq.md"]
    assert "victim" not in made["owner-akash1qq.md"]
    for note in made.values():
        for of_the_node in ("secret-node", "4711", "4700", "1024", "/usr/bin/python3", "app.py"):
            assert of_the_node not in note


@pytest.mark.parametrize(
    "claims, pid, cures",
    [
        ({"orphan": 3, "may_be_waited_for": 0}, 4700, (True, False)),
        # left to a subreaper
        ({"orphan": 3, "may_be_waited_for": 0}, 4711, (False, True)),
        ({"orphan": 0, "may_be_waited_for": 3}, 4711, (False, True)),
        ({"orphan": 1, "may_be_waited_for": 2}, 4700, (True, True)),
        ({"orphan": 0, "may_be_waited_for": 3}, 4700, (True, True)),
        (None, 4711, (False, True)),
        (None, 4700, (True, True)),
    ],
)
def test_the_cure_is_for_the_cause(claims, pid, cures):
    (note,) = notes_of(rig.offender(3, claims=claims, pid=pid)).values()
    assert (tenant_notes.ORPHANS in note, tenant_notes.OWN_CHILDREN in note) == cures


def test_what_an_audit_knows_of_a_pid_1_counts_more_than_its_zombies():
    """It collects orphans, so those are its own children."""
    of_init = rig.offender(3, claims={"orphan": 0, "may_be_waited_for": 3}, pid=4700)
    for cures, expected in ((["fix"], (False, True)), (["runtime_class"], (True, False))):
        (note,) = notes_of(of_init, containers=[rig.container(cures=cures)]).values()
        assert (tenant_notes.ORPHANS in note, tenant_notes.OWN_CHILDREN in note) == expected


def test_a_program_that_was_ended():
    (note,) = notes_of(acted=[rig.acted(3, ended=True, name="sh")]).values()
    assert "`sh` was ended on 25 November 2026, 10:35 UTC" in note
    assert "0 zombies in your containers" in note


def test_a_note_and_the_number_of_notes_are_bounded(monkeypatch):
    (note,) = notes_of(*[rig.offender(1, name="x" * 999)] * 4000).values()
    assert "- and 3,950 more" in note and len(note) < 10**5
    monkeypatch.setattr(tenant_notes, "MAX_NOTES", 3)
    made = notes_of(*[rig.offender(n, workload=in_namespace(f"n{n}")) for n in range(1, 9)])
    assert set(made) == {"namespace-n8.md", "namespace-n7.md", "namespace-n6.md"}


def structure(note):
    """The note as Markdown sees it, without the contents of code spans."""
    return [
        (token.type, token.tag, [(child.type, child.tag) for child in token.children or ()])
        for token in MARKDOWN.parse(note)
    ]


def spans(note):
    return [
        child.content
        for token in MARKDOWN.parse(note)
        for child in token.children or ()
        if child.type == "code_inline"
    ]


def note_about(name):
    of = rig.workload(namespace="n" + name, pod=name, container_name=name, lease=lease("o" + name))
    made = notes_of(
        rig.offender(3, name="p" + name, workload=of),
        containers=[rig.container(workload=of, init={"pid": 1, "name": "i" + name})],
        acted=[rig.acted(name="a" + name, workload=of)],
    )
    (note,) = made.values()
    return note


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_and_nothing_else(name):
    assert_only_text_differs(name)


@settings(max_examples=60)
@given(NAMES)
def test_any_name_is_text_and_nothing_else(name):
    assert_only_text_differs(name)


def assert_only_text_differs(name):
    note = note_about(name)
    assert structure(note) == structure(note_about("x"))
    shown = tenant_notes.code(
        "p" + rig.fleet_of({"a": rig.look(rig.offender(name=name))})["offenders"][0]["name"]
    )
    assert shown in note
    assert any(span.startswith("p") for span in spans(note))


@pytest.mark.parametrize("name", [*HOSTILE, "", ".", "..", "x" * 999, "ü" * 200, "a/b", "a_b"])
def test_the_name_of_a_file_is_in_its_directory(tmp_path, name):
    made = tenant_notes.file_name(Tenant("namespace", name))
    assert tenant_notes.OURS.fullmatch(made) or not name
    assert os.path.basename(made) == made and len(made) < 255
    (tmp_path / made).write_text("")
    assert os.listdir(tmp_path) == [made]


@settings(max_examples=200)
@given(st.lists(NAMES | st.text(min_size=150, max_size=200), unique=True, max_size=8))
def test_no_two_tenants_share_a_file(names):
    tenants = [Tenant(kind, name) for name in names for kind in ("owner", "namespace")]
    assert len({tenant_notes.file_name(tenant) for tenant in tenants}) == len(tenants)


def test_notes_of_earlier_reports_are_removed_and_nothing_else(tmp_path):
    directory = tmp_path / "tenants"
    fleet_files.replace_all(str(directory), {}, tenant_notes.OURS)
    assert not directory.exists()
    fleet_files.replace_all(str(directory), example(), tenant_notes.OURS)
    for name in ("owner-old.md", "letter.md", "namespace-x.txt"):
        (directory / name).write_text("precious")
    (directory / "namespace-link.md").symlink_to(tmp_path / "precious")
    (directory / "namespace-directory.md").mkdir()
    (tmp_path / "precious").write_text("precious")
    fleet_files.replace_all(str(directory), {"owner-new.md": "new"}, tenant_notes.OURS)
    assert sorted(os.listdir(directory)) == [
        "letter.md",
        "namespace-directory.md",
        "namespace-x.txt",
        "owner-new.md",
    ]
    assert (tmp_path / "precious").read_text() == "precious"
