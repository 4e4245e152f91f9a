"""What the module zombie_reaper_agent puts on a node."""

from __future__ import annotations

import subprocess
import sys

import jinja2
import pytest
import yaml

# In a process of its own, in which nothing else has loaded the engine; the module ships what it has
# loaded itself.
WRITTEN = """
import types
from ansible_collections.provider.fleet.plugins.modules import zombie_reaper_agent as agent

agent.is_right = lambda path, text, mode: False
ansible = types.SimpleNamespace(check_mode=True, run_command=lambda command: (0, "", ""))
print(*agent.present(ansible, {}, {"textfile_directory": "auto"})[0], sep="\\n")
"""


def test_the_whole_engine_goes_to_the_node(root):
    """What the command loads only when it is needed too: `command` needs no `agent` where nothing
    is wrong.
    """
    done = subprocess.run(
        [sys.executable, "-c", WRITTEN],
        env={"PYTHONPATH": str(root / ".cache/collections")},
        capture_output=True,
        text=True,
        check=True,
    )
    engine = root / "plugins/module_utils/reaper"
    written = {
        path
        for path in done.stdout.splitlines()
        if path.startswith("/usr/local/lib/zombie_reaper/")
    }
    assert written == {
        f"/usr/local/lib/zombie_reaper/{path.relative_to(engine)}" for path in engine.rglob("*.py")
    }


def test_diff_shows_what_an_operator_decides(root):
    """And not the engine or what is made from it, hundreds of lines for each node."""
    script = WRITTEN.replace("[0], sep=", "[1], sep=").replace(
        "print(*agent", "print(*(each['after_header'] for each in agent"
    )
    script = script.replace("[1], sep=", "[1]), sep=")
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(root / ".cache/collections")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [
        "/etc/zombie_reaper/config.json",
        "/usr/local/bin/kill_zombie_parents.sh",
        "/usr/local/sbin/zombie-reaper",
    ]


REFUSED = (
    WRITTEN.replace('"auto"', '"textfiles"')
    .replace("run_command=", "fail_json=lambda msg: sys.exit(msg), run_command=")
    .replace("import types", "import sys, types")
)


def test_a_directory_for_metrics_that_is_none_is_refused_before_anything_is_written(root):
    done = subprocess.run(
        [sys.executable, "-c", REFUSED],
        env={"PYTHONPATH": str(root / ".cache/collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "textfile_directory: 'textfiles' is not allowed: give auto, off or the absolute path of a"
        " directory"
    )


# The same, with every path in a directory of the test: argv[1]
ABSENT = """
import os, sys, types
from ansible_collections.provider.fleet.plugins.module_utils.reaper import textfile
from ansible_collections.provider.fleet.plugins.modules import zombie_reaper_agent as agent

for name in ("ENGINE", "COMMAND", "SCRIPT", "MAN_PAGE", "BASH_COMPLETION", "ZSH_COMPLETION", "CONFIG", "RUN"):
    setattr(agent, name, sys.argv[1] + getattr(agent, name))
textfile.DIRECTORIES = tuple(sys.argv[1] + directory for directory in textfile.DIRECTORIES)
for check_mode in (True, False, False):
    print(*sorted(path[len(sys.argv[1]):] for path in agent.absent(types.SimpleNamespace(check_mode=check_mode))[0]))
"""
PROM = "zombie_reaper.prom"


@pytest.mark.parametrize(
    "config", [None, "{", '{"textfile_directory": 5}', '{"textfile_directory": "%s/given"}']
)
def test_what_is_removed_takes_its_metrics_along(root, tmp_path, config):
    """Wherever they are: what nobody renews any more would raise an alarm for ever."""
    directories = [
        "/var/lib/node_exporter",
        "/var/lib/node_exporter/textfile_collector",
        "/var/lib/prometheus/node-exporter",
    ]
    metrics = [directory + "/" + PROM for directory in directories] + [
        directories[2] + "/" + PROM + ".new"
    ]
    if config and "given" in config:
        metrics.append("/given/" + PROM)
    for path in [*metrics, "/var/lib/node_exporter/other.prom", "/elsewhere/" + PROM]:
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path[1:]).write_text("x 1\n", encoding="ascii")
    removed = list(metrics)
    if config is not None:
        (tmp_path / "etc/zombie_reaper").mkdir(parents=True)
        (tmp_path / "etc/zombie_reaper/config.json").write_text(
            config.replace("%s", str(tmp_path)), encoding="ascii"
        )
        removed.append("/etc/zombie_reaper")
    done = subprocess.run(
        [sys.executable, "-c", ABSENT, tmp_path],
        env={"PYTHONPATH": str(root / ".cache/collections")},
        capture_output=True,
        text=True,
        check=True,
    )
    said = " ".join(sorted(removed))
    assert done.stdout.splitlines() == [said, said, ""]
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.prom*")} == {
        "var/lib/node_exporter/other.prom",
        "elsewhere/" + PROM,
    }


def unit_of_the_daemon(root, **given) -> str:
    """Its systemd unit, as the role writes it with these variables."""
    role = root / "roles/zombie_reaper"
    variables = {
        **yaml.safe_load((role / "defaults/main.yml").read_text()),
        **yaml.safe_load((role / "vars/main.yml").read_text()),
    }
    template = jinja2.Environment(trim_blocks=True).from_string(
        (role / "templates/zombie-reaper-daemon.service.j2").read_text()
    )
    return template.render({**variables, "ansible_managed": "", **given})


@pytest.mark.parametrize(
    "given, has_network",
    [
        ({}, False),
        *(({"zombie_reaper_kubernetes_events": value}, False) for value in ("off", False, "No")),
        *(
            ({"zombie_reaper_kubernetes_events": value}, True)
            for value in ("auto", True, "/etc/k.conf")
        ),
    ],
)
def test_the_service_that_stays_has_a_network_only_where_it_sends_events(root, given, has_network):
    lines = unit_of_the_daemon(root, **given).splitlines()
    assert ("PrivateNetwork=yes" in lines) is not has_network
    assert lines[lines.index("DevicePolicy=closed") - 1].startswith(
        ("PrivateNetwork=", "ReadWritePaths=")
    ), "no line is left empty"


@pytest.mark.parametrize(
    "given, writable",
    [
        (
            "auto",
            [
                "-/var/lib/prometheus/node-exporter",
                "-/var/lib/node_exporter/textfile_collector",
                "-/var/lib/node_exporter",
            ],
        ),
        ("/data/metrics", ["-/data/metrics"]),
        ("off", []),
        (False, []),
    ],
)
def test_the_service_that_stays_may_write_its_metrics_and_termination_logs_and_no_more(
    root, given, writable
):
    text = unit_of_the_daemon(root, zombie_reaper_textfile_directory=given)
    lines = [
        line.partition("=")[2] for line in text.splitlines() if line.startswith("ReadWritePaths=")
    ]
    assert [path for line in lines for path in line.split()] == ["-/var/lib/kubelet", *writable]
    assert "ProtectSystem=strict" in text.splitlines()


FOUND = """
import sys
from ansible_collections.provider.fleet.plugins.modules import zombie_reaper_agent as agent

agent.SERVICE = sys.argv[1] + "/zombie-reaper.service"
print(agent.found(None)["daemon"])
"""


@pytest.mark.parametrize(
    "service, is_daemon",
    [
        (None, False),
        ("Type=oneshot\nExecStart=/usr/local/sbin/zombie-reaper\n", False),
        ("Type=notify\nExecStart=/usr/local/sbin/zombie-reaper --daemon --syslog\n", True),
        ("Type=notify\nExecStart=/usr/local/sbin/zombie-reaper --watch --syslog\n", True),
    ],
    ids=["none", "of the timer", "the daemon", "the daemon of an earlier version"],
)
def test_which_service_is_the_daemon(root, tmp_path, service, is_daemon):
    """Another schedule removes it, whichever version wrote it."""
    if service:
        (tmp_path / "zombie-reaper.service").write_text(service, encoding="ascii")
    done = subprocess.run(
        [sys.executable, "-c", FOUND, tmp_path],
        env={"PYTHONPATH": str(root / ".cache/collections")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(is_daemon)]
