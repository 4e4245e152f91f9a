"""docs/fix-your-image.md and docs/supervisors.md keep their word: what leaks there leaks, and what
cures it does.

The pages are the source: their code blocks are built, run, audited, and each is really given an orphan.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import yaml
from ansible_collections.provider.fleet.plugins.module_utils.reaper.remedies import termination_log
from rig import examples, handmade
from rig.agents import PATIENT_WITH_INITS
from rig.inits import at_rest, fates, stop
from rig.node import is_alive, wait_until
from rig.reaping import PatientNode, agent_that

# The containers that are run, and whether their init collects orphans
BEFORE = ("before", "script-before", "without-init", "apart-web")
AFTER = (
    "tini",
    "with-init",
    "with-compose",
    "script",
    "s6",
    "runit",
    "supervisor",
    "server-before",
    "server",
    "together-web",
)

Seen = namedtuple("Seen", ("podman", "inits", "audit", "probe", "truth", "left"))
Seen.__doc__ = """audit, probe: container to its entry. truth: container to seconds until its orphan was gone, or None.
left: containers in which the probe left a zombie."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fix")
    node = PatientNode(directory)
    podman = None
    try:
        # it refuses a directory with a long name
        podman = examples.DebianPodman(node, Path(tempfile.mkdtemp(prefix="zr-")))
        names = examples.lay_out(directory)
        podman.build(directory, names)
        start(podman, names)
        inits = {name: podman.init(name) for name in (*BEFORE, *AFTER)}
        wait_until(lambda: at_rest(inits.values()), 180)
        yield look(node, podman, inits)
    finally:
        stop(node, podman)


def start(podman, names):
    """Everything the page shows, and what it is compared with."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(podman.start, [*names, "without-init"], [*names, "before"]))
    _see, with_init = examples.commands()
    podman.shell(with_init.replace("--detach", "--detach --network none"))
    service = yaml.safe_load(examples.files()["compose.yaml"])["services"]["web"]
    podman.start("with-compose", service["image"], *["--init"] * service["init"])
    pod = yaml.safe_load(examples.files()["pod.yaml"])
    (container,) = pod["spec"]["containers"]
    podman("tag", "before", container["image"])
    podman.play("together", pod)
    del pod["spec"]["shareProcessNamespace"]
    podman.play("apart", pod)


def look(node, podman, inits) -> Seen:
    """The truth comes last, so that the audit has not seen its orphans."""
    names = {podman.id(name): name for name in inits}

    def audit(*flags):
        done = node.run(
            *node.agent_command("--audit", "--json", *flags, code=agent_that(PATIENT_WITH_INITS))
        )
        assert done.returncode == 0, done.stderr
        entries = {
            entry["workload"]["container_id"]: entry
            for entry in json.loads(done.stdout)["containers"]
        }
        return {name: entries[container] for container, name in names.items()}

    without, with_probe = audit(), audit("--probe")
    left = [name for name, init in inits.items() if zombies_of(init)]
    return Seen(podman, inits, without, with_probe, fates(inits), left)


def zombies_of(process) -> list:
    return [child for child in process.children() if is_zombie(child)]


def is_zombie(process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it was collected at this moment
        return False


def test_every_example_of_the_page_is_run():
    directories = {path.split("/")[0] for path in examples.files() if "/" in path}
    assert directories <= {*BEFORE, *AFTER}
    assert {path for path in examples.files() if "/" not in path} == {"compose.yaml", "pod.yaml"}
    assert len(examples.commands()) == 2


def test_the_page_has_the_cures_that_a_termination_log_names():
    text = examples.PAGE.read_text(encoding="utf-8")
    offender = handmade.container_process(
        zombies=(handmade.zombie()._replace(claim="orphan"), handmade.zombie()),
        status=handmade.status((50, 1)),
    )
    said = termination_log.message(offender, "all", 0.0)
    for cure in ('ENTRYPOINT ["/usr/bin/tini", "--"]', "shareProcessNamespace: true", "waitpid"):
        assert cure in said
        assert cure in text


@pytest.mark.full
@pytest.mark.parametrize("name", BEFORE)
def test_before_an_orphan_stays_and_the_audit_says_so(seen, name):
    assert seen.truth[name] is None
    assert seen.probe[name]["verdict"] == "leaks", seen.probe[name]
    assert seen.audit[name]["verdict"] in ("leaks", "unknown"), seen.audit[name]


@pytest.mark.full
@pytest.mark.parametrize("name", AFTER)
def test_after_it_is_collected_and_the_audit_says_so(seen, name):
    assert seen.truth[name] is not None
    assert seen.probe[name]["verdict"] == "reaps", seen.probe[name]
    assert seen.audit[name]["verdict"] in ("reaps", "unknown"), seen.audit[name]


@pytest.mark.full
def test_the_probe_leaves_nothing_behind(seen):
    assert seen.left == []


@pytest.mark.full
def test_nothing_ended_by_it(seen):
    """An orphan that exits is none of those that the script waits for."""
    assert [name for name, init in seen.inits.items() if not is_alive(init)] == []


@pytest.mark.full
def test_the_page_shows_how_to_see_it(seen):
    """Its first line leaves an orphan; a busy machine may need more than the two seconds after
    which the second one looks.
    """
    see, _with_init = examples.commands()
    leave, look = re.split("(?<=\n)", see, maxsplit=1)

    def told(name):
        return seen.podman.shell(look.replace(" web ", f" {name} ") + "true")

    tini = seen.inits["tini"]
    own = tini.children()
    seen.podman.shell(leave.replace(" web ", " before ") + leave.replace(" web ", " tini "))
    wait_until(lambda: re.search(r"^ *\d+ Name:\s+sleep\s+PPid:\s+1$", told("before"), re.M))
    wait_until(lambda: tini.children() == own)
    assert told("tini") == ""


@pytest.mark.full
def test_an_init_does_not_cure_a_program_that_keeps_its_own(seen):
    (keeps,), (asks,) = (seen.inits[name].children() for name in ("server-before", "server"))
    before = wait_until(lambda: zombies_of(keeps))
    last = zombies_of(asks)
    # The latter has that of this second at most, once it has had its turn
    wait_until(
        lambda: (
            len(zombies_of(keeps)) > len(before)
            and zombies_of(asks) != last
            and len(zombies_of(asks)) <= 1
        )
    )


@pytest.mark.full
def test_bare_the_program_does_not_notice_sigterm_and_with_an_init_it_does(seen):
    seen.podman("kill", "--signal", "TERM", "before")
    for name in ("tini", "with-init", "with-compose", "script", "s6", "supervisor"):
        seen.podman("stop", "--time", "60", name)
        # 128 and SIGKILL
        assert seen.podman("inspect", "--format", "{{.State.ExitCode}}", name) != "137", name
    assert is_alive(seen.inits["before"])
