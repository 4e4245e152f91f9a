"""Every job template's playbook, run by ansible-runner as AWX runs it: from a git checkout and from
the built collection, on nodes of the rig.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from rig.awx_job import Jobs, answered, host, inventory
from rig.node import CHECKOUT, PYTHON, Node

LEAK = "zombie()\nzombie()\nready()\nforever()"
TEMPLATES = yaml.safe_load((CHECKOUT / "playbooks/vars/awx.yml").read_text(encoding="utf-8"))[
    "controller_templates"
]
SURVEYS = {
    template["playbook"].rpartition(" ")[2].rpartition("}")[2]: template["survey_spec"]
    for template in TEMPLATES
}
# no sweep of these tests waits, and none leaves a zombie to its parent
NOW = {"zombie_reaper_min_age": 0, "zombie_reaper_pressure": 0}
BLOCK = re.compile(r"^```yaml (\S+)\n(.*?)^```$", re.M | re.S)
PATHS = [
    Path(path)
    for path in (
        "/etc/zombie_reaper",
        "/etc/cron.d/kill_zombie_parents",
        "/usr/local/sbin/zombie-reaper",
        "/run/zombie_reaper",
    )
]


def fetch_collections(project, bin, run) -> Path:
    """What a project sync does with collections/requirements.yml; the directory that jobs find them
    in.
    """
    stage = project.parent / "requirements_collections"
    # which nobody answers
    run(
        bin / "ansible-galaxy",
        "collection",
        "install",
        "-r",
        project / "collections/requirements.yml",
        "-vvv",
        cwd=project,
        ANSIBLE_COLLECTIONS_PATH=str(stage),
        ANSIBLE_LOCAL_TEMP=str(project.parent / "tmp"),
        ANSIBLE_FORCE_COLOR="false",
        ANSIBLE_GALAXY_SERVER_LIST="server0",
        ANSIBLE_GALAXY_SERVER_SERVER0_URL="http://127.0.0.1:9/",
    )
    return stage


@pytest.fixture(scope="module")
def checkout(collection, bin, run, tmp_path_factory):
    """Jobs of a project that is a git clone of this repository."""
    directory = tmp_path_factory.mktemp("checkout")
    shutil.copytree(collection, directory / "origin", symlinks=True)
    git = [
        "/usr/bin/git",
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@localhost",
        "-C",
        directory / "origin",
    ]
    run(*git, "init", "--quiet")
    run(*git, "add", "--all")
    run(*git, "commit", "--quiet", "--message=as it is")
    run("/usr/bin/git", "clone", "--quiet", directory / "origin", directory / "project")
    return Jobs(
        directory, bin, directory / "project", fetch_collections(directory / "project", bin, run)
    )


@pytest.fixture(scope="module")
def built(tarball, bin, run, tmp_path_factory):
    """Jobs of a project as docs/execution-environments.md has it for the built collection."""
    directory = tmp_path_factory.mktemp("built")
    page = (CHECKOUT / "docs/execution-environments.md").read_text(encoding="utf-8")
    for name, text in BLOCK.findall(page):
        (directory / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / "project" / name).write_text(text, encoding="utf-8")
    shutil.copy(tarball, directory / "project")
    return Jobs(
        directory, bin, directory / "project", fetch_collections(directory / "project", bin, run)
    )


@pytest.fixture(params=["checkout", pytest.param("built", marks=pytest.mark.full)])
def play(request):
    """play(name, hosts, **answers): a job of the playbook of that name; its survey is answered."""
    jobs = request.getfixturevalue(request.param)
    prefix = "playbooks/" if request.param == "checkout" else ""

    def play(name, hosts, check=False, **answers):
        return jobs(prefix + name, hosts, answered(SURVEYS[name], **answers), check=check)

    return play


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """Three nodes by name, and what AWX knows of them."""
    directory = tmp_path_factory.mktemp("nodes")
    nodes = {}
    for name in ("control1", "node1", "node2"):
        (directory / name).mkdir()
        nodes[name] = Node(directory / name)
    yield nodes, {name: host(directory, node, PYTHON) for name, node in nodes.items()}
    for node in nodes.values():
        node.stop()


@pytest.fixture
def leaks(nodes):
    """A container that leaks on each node."""
    leaks = {name: node.container(LEAK) for name, node in nodes[0].items()}
    yield leaks
    for leak in leaks.values():
        leak.stop()


def held(leaks) -> dict:
    """Zombies by node."""
    return {name: len(leak.zombies()) for name, leak in leaks.items()}


GROUPS = {"kube_node": ["node1", "node2"], "kube_control_plane": ["control1"]}
HELD = {"control1": 2, "node1": 2, "node2": 2}


def test_the_sync_installs_the_collection_out_of_the_checkout(checkout):
    installed = checkout.collections / "ansible_collections/provider/fleet"
    assert (installed / "MANIFEST.json").is_file() and (
        installed / "playbooks/vars/awx.yml"
    ).is_file()
    assert not (installed / "collections").exists() and not (installed / ".git").exists()


def test_sweep(play, nodes, leaks):
    """As a check nothing is done; as a run the nodes are cleared, and no other host of the
    inventory is touched.
    """
    hosts = inventory(nodes[1], GROUPS)
    checked = play("sweep.yml", hosts, check=True, **NOW)
    assert checked.status == "successful", checked.text
    assert set(checked.counts) == {"node1", "node2"}
    assert checked.result("node1", "provider.fleet.zombie_reap")["check_mode"] is True
    assert held(leaks) == HELD
    swept = play(
        "sweep.yml", hosts, zombie_reaper_remedies="reap,nudge", zombie_reaper_protect="", **NOW
    )
    assert swept.status == "successful", swept.text
    assert held(leaks) == {"control1": 2, "node1": 0, "node2": 0}
    assert all(leak.alive for leak in leaks.values())


def test_look(play, nodes, leaks):
    ended = play("look.yml", inventory(nodes[1], GROUPS), zombie_reaper_min_age=0)
    assert ended.status == "successful", ended.text
    assert set(ended.counts) == {"node1", "node2"}
    assert ended.result("node1", "provider.fleet.zombie_info")["counts"]["zombies"] >= 2
    assert held(leaks) == HELD


def evidence(ended) -> list:
    """What the verdict on the one container of node1 rests on."""
    assert ended.status == "successful", ended.text
    (container,) = ended.result("node1", "provider.fleet.init_audit")["containers"]
    return [found["by"] for found in container["evidence"]]


@pytest.mark.full
def test_audit(play, nodes, leaks):
    """The answer "false" is false: no init is tried out."""
    assert "canary" not in evidence(
        play("audit.yml", inventory(nodes[1], GROUPS, 2, 3), zombie_reaper_probe="false")
    )


@pytest.mark.full
def test_audit_that_tries_every_init_out(checkout, nodes, leaks):
    answers = answered(SURVEYS["audit.yml"], zombie_reaper_probe="true")
    assert "canary" in evidence(
        checkout("playbooks/audit.yml", inventory(nodes[1], GROUPS, 2, 3), answers)
    )


def test_report(play, nodes, leaks, tmp_path):
    ended = play(
        "report.yml",
        inventory(nodes[1], GROUPS),
        zombie_reaper_report_dest=str(tmp_path / "reports"),
    )
    assert ended.status == "successful", ended.text
    page = "".join(
        path.read_text(encoding="utf-8") for path in (tmp_path / "reports").glob("*.html")
    )
    assert "node1" in page and "node2" in page and "control1" not in page
    assert held(leaks) == HELD


@pytest.mark.full
def test_install_as_a_check_writes_nothing(play, nodes, leaks):
    def there():
        return nodes[0]["node1"].run("ls", "-lR", "--full-time", *map(str, PATHS)).stdout

    before = there()
    ended = play("site.yml", inventory(nodes[1], GROUPS), check=True, **NOW)
    assert ended.status == "successful", ended.text
    assert ended.counts["node1"]["changed"] > 0
    assert there() == before
    assert held(leaks) == HELD


@pytest.mark.full
def test_slices(checkout, nodes, leaks):
    """Each slice acts on its own nodes, and one that has none, but other hosts, acts on none."""
    survey = SURVEYS["sweep.yml"]
    # as a list, as several lines of one text, with commas: what multiselect, textarea and text send
    left = dict(HELD)
    for number, cleared, remedies in (
        (1, None, "reap,nudge"),
        (2, "node1", ["reap", "nudge"]),
        (3, "node2", "reap\nnudge"),
    ):
        left.update({cleared: 0} if cleared else {})
        variables = {**answered(survey, **NOW), "zombie_reaper_remedies": remedies}
        ended = checkout("playbooks/sweep.yml", inventory(nodes[1], GROUPS, number, 3), variables)
        assert ended.status == "successful", ended.text
        assert held(leaks) == left
        # no slice has nodes that have to be swept again
        assert ended.text.count("no hosts matched") == (2 if number == 1 else 1)


def test_a_limit_that_leaves_nothing(checkout, nodes, leaks):
    hosts = inventory(nodes[1], GROUPS)
    for limit, status, words in (
        ("control1", "failed", 'the limit is "control1"'),
        ("elsewhere", "failed", "leaves us with no hosts to target"),
    ):
        ended = checkout(
            "playbooks/sweep.yml", hosts, answered(SURVEYS["sweep.yml"], **NOW), limit=limit
        )
        assert ended.status == status
        assert words in " ".join(ended.text.replace("\\", "").split())
        assert "Traceback" not in ended.text
    assert held(leaks) == HELD


def test_none_only_reports_and_text_is_as_good_as_numbers(checkout, core, nodes, leaks, tmp_path):
    """Old and new ansible-core: of the answers, which AWX marks as unsafe, 2.19 and later make
    numbers and booleans, and null of a blank one.
    """
    jobs = Jobs(tmp_path, checkout.bin, checkout.project, checkout.collections, core)
    variables = {
        **answered(SURVEYS["sweep.yml"]),
        "zombie_reaper_remedies": "none",
        "zombie_reaper_min_age": "0",
        "zombie_reaper_pressure": "0.0",
        "zombie_reaper_protect": "",
        "zombie_reaper_hosts": "",
        "zombie_reaper_grace": "2",
    }
    # the second by the API, which holds a list to be no answer to the survey, but an extra variable
    for remedies in ("none", []):
        variables["zombie_reaper_remedies"] = remedies
        ended = jobs("playbooks/sweep.yml", inventory(nodes[1], GROUPS, 2, 3), variables)
        assert ended.status == "successful", ended.text
        assert [
            offender["reason"]
            for offender in ended.result("node1", "provider.fleet.zombie_reap")["offenders"]
        ] == ["report_only"]
        assert held(leaks) == HELD


@pytest.mark.full
def test_without_a_galaxy_credential(checkout, core, nodes, leaks, tmp_path):
    """The sync installs no collections then; the project itself has this one, and the survey and the
    summary work as ever.
    """
    (tmp_path / "nothing").mkdir()
    jobs = Jobs(tmp_path, checkout.bin, checkout.project, tmp_path / "nothing", core)
    answers = answered(SURVEYS["sweep.yml"], **NOW)
    ended = jobs("playbooks/sweep.yml", inventory(nodes[1], GROUPS, 2, 3), answers, check=True)
    assert ended.status == "successful", ended.text
    assert ended.result("node1", "provider.fleet.zombie_reap")["check_mode"] is True
    assert "1 node: 1 checked" in ended.text and "callback" not in ended.text
    assert held(leaks) == HELD


@pytest.mark.parametrize(
    "answers, words",
    [
        (
            {
                "zombie_reaper_protect": "(\nfine",
                "zombie_reaper_protect_namespaces": "Kube",
                "zombie_reaper_remedies": "nudge,explode",
            },
            [
                "protect",
                "'(' is not a regular expression",
                "'Kube' is not a name that Kubernetes allows",
                "reap, nudge, terminate",
            ],
        ),
        ({"zombie_reaper_min_age": "sixty"}, ["'min_age'", "'sixty'", "int"]),
    ],
)
def test_a_wrong_answer_fails_with_a_sentence_before_anything_is_done(
    checkout, nodes, leaks, answers, words
):
    ended = checkout("playbooks/sweep.yml", inventory(nodes[1], GROUPS, 2, 3), {**NOW, **answers})
    assert ended.status == "failed"
    failed = [
        event["event_data"]["res"]["msg"]
        for event in ended.events
        if event["event"] == "runner_on_failed"
    ]
    assert len(failed) == 1 and [word for word in words if word not in failed[0]] == []
    assert "Traceback" not in ended.text
    assert held(leaks) == HELD


@pytest.mark.full
def test_install(checkout, nodes, leaks):
    """With a survey answered by text alone, and onto a node whose /etc and /usr/local are its
    own.
    """
    node = nodes[0]["node2"]
    before = [path.exists() for path in PATHS]
    ended = checkout(
        "playbooks/site.yml",
        inventory(nodes[1], GROUPS, 3, 3),
        answered(
            SURVEYS["site.yml"],
            zombie_reaper_every_minutes="10",
            zombie_reaper_manage_sysctl="false",
            zombie_reaper_remedies="reap,nudge",
            zombie_reaper_protect="^/opt/a{1,3}\n^/opt/b",
            **NOW,
        ),
    )
    assert ended.status == "successful", ended.text
    options = json.loads(node.run("cat", "/etc/zombie_reaper/config.json").stdout)
    assert (options["remedies"], options["protect"], options["min_age"]) == (
        ["reap", "nudge"],
        ["^/opt/a{1,3}", "^/opt/b"],
        0,
    )
    assert re.search(
        r"^\d-59/10 \* .* root trap 'exec \S+ --syslog' EXIT; sleep \d+$",
        node.run("cat", "/etc/cron.d/kill_zombie_parents").stdout,
        re.M,
    )
    assert node.run("ls", "/etc/sysctl.d/99-zombie_reaper.conf").returncode != 0
    assert held(leaks) == {**HELD, "node2": 0}
    assert [path.exists() for path in PATHS] == before


@pytest.mark.full
def test_ad_hoc_command(built, nodes, leaks, tmp_path):
    """With the collection where an execution environment has it, and no project."""
    jobs = Jobs(tmp_path, built.bin, built.project, built.collections)
    ended = jobs.command(
        "provider.fleet.zombie_info", "min_age=0", inventory(nodes[1], GROUPS, 2, 3)
    )
    assert ended.status == "successful", ended.text
    assert ended.result("node1", "provider.fleet.zombie_info")["counts"]["zombies"] >= 2
