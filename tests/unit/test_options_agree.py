"""One vocabulary: every option is the same in the engine, the modules, their documentation, the
role and the command.
"""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
import yaml
from ansible_collections.provider.fleet.plugins.action import (
    zombie_info,
    zombie_reap,
)
from ansible_collections.provider.fleet.plugins.action import (
    zombie_reaper_agent as agent_action,
)
from ansible_collections.provider.fleet.plugins.doc_fragments.sweep_options import ModuleDocFragment
from ansible_collections.provider.fleet.plugins.module_utils import sweep_module
from ansible_collections.provider.fleet.plugins.module_utils.reaper import (
    cli,
    metrics,
    textfile,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.errors import OptionError
from ansible_collections.provider.fleet.plugins.module_utils.reaper.options import (
    AGENT_CHECKS,
    AGENT_HELP,
    CHECKS,
    HELP,
    REMEDIES,
    REMOVED,
    SCOPES,
    Options,
    configured_events,
    validate,
)
from ansible_collections.provider.fleet.plugins.module_utils.reaper.paths import Paths
from ansible_collections.provider.fleet.plugins.modules import zombie_reaper_agent
from ansible_collections.provider.fleet.plugins.plugin_utils.checked_action import OWN_TASK

NAMES = Options._fields
DEFAULTS = Options()._asdict()
PREFIX = "zombie_reaper_"
AGENT = {"schedule_files", "textfile_directory", "kubernetes_events", "prefix"}
OTHER_THAN_DEFAULT = {
    "scope": "all",
    "remedies": ["nudge"],
    "min_age": 5,
    "min_zombies": 7,
    "pressure": 0.25,
    "tolerate": 5,
    "grace": 9.0,
    "protect": ["a", "b"],
    "protect_namespaces": ["a", "b"],
    "max_parents": 3,
    "cooldown": 60,
}


def load(path):
    return yaml.safe_load(path.read_text())


def as_engine(value):
    return tuple(value) if isinstance(value, list) else value


def in_force(arguments):
    """Options and paths of the command with these arguments."""
    return cli._options(cli._parse(arguments), Paths())


def common(spec):
    """What an argument spec and documentation both say of an option."""
    return {
        key: as_engine(value)
        for key, value in spec.items()
        if key in ("type", "elements", "choices", "default")
    }


@pytest.fixture(scope="module")
def role(root):
    return root / "roles/zombie_reaper"


def test_engine_has_a_check_and_a_help_text_for_every_option():
    assert tuple(HELP) == tuple(CHECKS) == NAMES == tuple(OTHER_THAN_DEFAULT)
    assert validate(DEFAULTS) == Options()


def test_modules():
    spec = {
        name: option for name, option in sweep_module.argument_spec().items() if name not in REMOVED
    }
    assert tuple(spec) == NAMES
    assert {name: as_engine(option["default"]) for name, option in spec.items()} == DEFAULTS
    assert tuple(spec["scope"]["choices"]) == SCOPES


def test_documentation_of_the_modules():
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    assert {name: common(option) for name, option in documented.items()} == {
        name: common(option) for name, option in sweep_module.argument_spec().items()
    }


def test_role_defaults_and_argument_specs(role):
    defaults = load(role / "defaults/main.yml")
    specs = load(role / "meta/argument_specs.yml")["argument_specs"]
    assert {name: as_engine(defaults[PREFIX + name]) for name in NAMES} == DEFAULTS
    for entry_point in specs.values():
        assert {
            name: option["default"] for name, option in entry_point["options"].items()
        } == defaults
        assert {name: common(entry_point["options"][PREFIX + name]) for name in NAMES} == {
            name: common(option)
            for name, option in sweep_module.argument_spec().items()
            if name not in REMOVED
        }


def test_removed_options_are_taken_by_the_modules_and_the_command_only_to_be_refused(role):
    """By a sentence that names the successor, which is an option that there is."""
    spec = sweep_module.argument_spec()
    assert {name: spec[name] for name in REMOVED} == {
        name: {"type": "raw"} for name in ("min_usage", "act_within")
    }
    specs = load(role / "meta/argument_specs.yml")["argument_specs"]
    for name, successor in REMOVED.items():
        assert successor in NAMES and name not in NAMES
        given = cli._parse(["--" + name.replace("_", "-"), "0"]).options
        with pytest.raises(
            OptionError, match=f"^{name}: this option was removed; use {successor}$"
        ):
            validate(given)
        assert [entry for entry in specs.values() if PREFIX + name in entry["options"]] == []


@pytest.mark.parametrize(
    "file, module, own",
    [
        ("roles/zombie_reaper/tasks/sweep_node.yml", "zombie_reap", {"defer"}),
        ("roles/zombie_reaper/tasks/limits.yml", "zombie_info", set()),
        ("roles/zombie_reaper/tasks/main.yml", "zombie_reaper_agent", AGENT | {"state", "sweep"}),
        ("roles/zombie_reaper/tasks/changes.yml", "zombie_reaper_agent", AGENT),
        ("playbooks/look.yml", "zombie_info", {"inits"}),
        ("playbooks/report.yml", "zombie_info", set()),
    ],
)
def test_own_tasks_take_every_option_from_the_variables(root, file, module, own):
    """None of them is named in the task."""
    name = f"provider.fleet.{module}"
    tasks = [
        task for entry in load(root / file) for task in entry.get("tasks", [entry]) if name in task
    ]
    assert [task["vars"][OWN_TASK] for task in tasks] == [True]
    (given,) = (task[name] or {} for task in tasks)
    assert given.keys() - {"least_limits"} == own


@pytest.mark.parametrize(
    "action, under", [(zombie_reap, None), (zombie_info, None), (agent_action, "options")]
)
def test_actions_take_every_option_from_the_variables(action, under):
    made = action.ActionModule(
        SimpleNamespace(args={"state": "so"}, async_val=0), None, None, None, Untemplated(), None
    )
    variables = {PREFIX + name: value for name, value in OTHER_THAN_DEFAULT.items()}
    of_others = {"zombie_reaper_hosts": "a", "zombie_reaper_min_usage": 1, "scope": "all"}
    taken = made.arguments(made.options({**variables, **of_others}))
    assert (taken[under] if under else taken) == OTHER_THAN_DEFAULT
    without = {PREFIX + "scope": None, PREFIX + "grace": "token", "omit": "token"}
    assert made.options(without) == {}


class Untemplated:
    """A templar of variables that hold no expressions."""

    def template(self, value):
        return value


def test_command_has_a_flag_for_every_option():
    arguments = []
    for name, value in OTHER_THAN_DEFAULT.items():
        values = (
            value if name == "protect" else [",".join(value) if isinstance(value, list) else value]
        )
        for single in values:
            arguments += ["--" + name.replace("_", "-"), str(single)]
    given = validate(cli._parse(arguments).options)
    assert given == validate(OTHER_THAN_DEFAULT)
    assert [name for name in NAMES if getattr(given, name) == DEFAULTS[name]] == []


def test_where_metrics_go_is_an_option_of_the_agent_alone(role, tmp_path):
    """It says nothing of what is done to whom."""
    name = "textfile_directory"
    assert name not in NAMES and tuple(metrics.CHECKS) == tuple(metrics.HELP) == (name,)
    look, put = (
        task["provider.fleet.zombie_reaper_agent"]
        for file in ("main.yml", "changes.yml")
        for task in load(role / "tasks" / file)
        if "provider.fleet.zombie_reaper_agent" in task
    )
    assert put.items() < look.items() and put[name] == "{{ %s%s }}" % (PREFIX, name)
    assert look.keys() - put.keys() == {"state", "least_limits", "sweep"}
    module = yaml.safe_load(zombie_reaper_agent.DOCUMENTATION)["options"]
    options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert (
        common(module[name])
        == common(options[PREFIX + name])
        == {"type": "str", "default": metrics.AUTO}
    )
    assert load(role / "vars/main.yml")["__zombie_reaper_textfile_directories"] == list(
        textfile.DIRECTORIES
    )
    for text in (
        " ".join(module[name]["description"]),
        " ".join(options[PREFIX + name]["description"]),
    ):
        assert re.findall(r"C\((/.*?)\)", text) == list(textfile.DIRECTORIES)
    config = tmp_path / "config.json"
    config.write_text('{"textfile_directory": "/of/configuration", "min_age": 7}', encoding="ascii")
    of_config = ["--config", str(config)]
    assert in_force(of_config) == (Options(min_age=7), Paths(textfiles="/of/configuration"))
    assert in_force([*of_config, "--textfile-directory", "off"])[1].textfiles == "off"
    config.write_text("{}", encoding="ascii")
    assert in_force(of_config) == (Options(), Paths(textfiles="auto"))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("off", "off"),
        (False, "off"),  # YAML reads off as this
        ("auto", "auto"),
        (True, "auto"),
        ("/etc/kubernetes/other.conf", "/etc/kubernetes/other.conf"),
    ],
)
def test_whether_events_are_sent_is_an_option_of_the_agent_alone(role, tmp_path, written, meant):
    """It says nothing of what is done to whom. Without it, none is sent."""
    name = "kubernetes_events"
    assert name not in NAMES and tuple(AGENT_CHECKS) == tuple(AGENT_HELP) == (name,)
    given = [
        task["provider.fleet.zombie_reaper_agent"][name]
        for file in ("main.yml", "changes.yml")
        for task in load(role / "tasks" / file)
        if "provider.fleet.zombie_reaper_agent" in task
    ]
    # once in check mode, to say what changes
    assert given == ["{{ %s%s }}" % (PREFIX, name)] * 2
    module = yaml.safe_load(zombie_reaper_agent.DOCUMENTATION)["options"]
    options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert (
        common(module[name])
        == common(options[PREFIX + name])
        == {"type": "str", "default": Paths().kubernetes_events}
    )
    config = tmp_path / "config.json"
    config.write_text(json.dumps({name: written}), encoding="ascii")
    of_config = ["--config", str(config)]
    assert in_force(of_config)[1].kubernetes_events == meant
    assert configured_events(str(config)) == meant  # what the modules do
    assert in_force([*of_config, "--kubernetes-events", "off"])[1].kubernetes_events == "off"
    config.write_text("{}", encoding="ascii")
    assert in_force(of_config)[1].kubernetes_events == "off"
    assert in_force([*of_config, "--kubernetes-events", str(written)])[1].kubernetes_events == meant


@pytest.mark.parametrize("text", ["{", '{"kubernetes_events": "kubelet.conf"}', None])
def test_modules_send_no_events_where_the_configuration_is_wrong(tmp_path, text):
    """They have options of their own, and sweep all the same."""
    config = tmp_path / "config.json"
    if text is not None:
        config.write_text(text, encoding="ascii")
    assert configured_events(str(config)) == "off"


def test_all_that_is_wrong_with_options_of_both_kinds_is_said_at_once(tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"textfile_directory": 5, "min_age": -1, "textfile": 1}', encoding="ascii")
    with pytest.raises(
        OptionError,
        match=(
            "textfile: there is no such option; allowed are .*, cooldown, kubernetes_events,"
            " textfile_directory;"
            " min_age: .*; textfile_directory: 5 is not allowed"
        ),
    ):
        in_force(["--config", str(config)])


def test_flag_that_is_not_given_is_left_to_the_configuration():
    assert cli._parse(["--check"]).options == {}


def test_remedies_and_scopes_that_are_documented_are_those_there_are():
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    for option, words in (("remedies", REMEDIES), ("scope", SCOPES)):
        text = " ".join(documented[option]["description"])
        assert [word for word in words if f"V({word})" not in text] == []


def test_help_shows_every_default(capsys):
    with pytest.raises(SystemExit):
        cli._parse(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for name, default in DEFAULTS.items():
        if not isinstance(default, tuple):
            assert re.search(
                rf"--{name.replace('_', '-')} [A-Z_]+ .*?\(default: {default:g}\)"
                if not isinstance(default, str)
                else rf"--{name} [A-Z]+ .*?\(default: {default}\)",
                shown,
            ), name
    assert "(default: reap,nudge,terminate)" in shown
    # where argparse breaks a line, it may break a name at its dash
    assert ",".join(DEFAULTS["protect_namespaces"]) in shown.replace(" ", "")
