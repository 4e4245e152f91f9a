"""playbooks/awx.yml with the real modules of awx.awx, against as much of AWX's API as they ask
for.
"""

from __future__ import annotations

import json
import os
import re

import pytest
import yaml
from rig.awx_api import Awx, wrong_with
from rig.awx_job import answered, refusal

SCM_URL = "zombie_reaper_awx_scm_url=https://git.example.org/fleet.git"


@pytest.fixture(scope="module")
def data(root):
    return yaml.safe_load((root / "playbooks/vars/awx.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def templates(data):
    """Job templates by the file name of their playbook."""
    return {
        template["playbook"].rpartition("}")[2]: template
        for template in data["controller_templates"]
    }


@pytest.fixture
def awx():
    server = Awx()
    yield server
    server.stop()


@pytest.fixture
def set_up(root, bin, run, awx):
    """set_up(*arguments): plays it; how many changes Ansible counted."""

    def set_up(*arguments):
        flags = [
            part
            for argument in arguments
            for part in ([argument] if argument.startswith("--") else ["-e", argument])
        ]
        done = run(
            bin / "ansible-playbook",
            root / "playbooks/awx.yml",
            *flags,
            cwd=root,
            ANSIBLE_CONFIG=str(root / "ansible.cfg"),
            ANSIBLE_COLLECTIONS_PATH=str(root / ".cache/collections"),
            CONTROLLER_HOST=awx.url,
            CONTROLLER_USERNAME="admin",
            CONTROLLER_PASSWORD="secret",
            CONTROLLER_VERIFY_SSL="false",
        )
        return int(re.search(r"localhost +: ok=\d+ +changed=(\d+)", done.stdout)[1])

    return set_up


@pytest.mark.full
def test_all_of_it_is_made_once(awx, set_up, data):
    """Credentials that the job templates have are kept when they are not named again, and an
    inventory of that name is left as it is.
    """
    awx.make("credentials", name="by ssh")
    # project and inventory; what refers to them cannot be checked before they are there
    assert set_up(SCM_URL, "--check") == 2
    assert awx.changes == []
    assert set_up(SCM_URL, json.dumps({"zombie_reaper_awx_credentials": ["by ssh"]})) == 4
    assert awx.names("projects") == ["Zombie reaper"]
    assert awx.names("inventories") == ["Nodes"]
    assert awx.names("job_templates") == sorted(
        template["name"] for template in data["controller_templates"]
    )
    assert awx.names("schedules") == ["Zombie reaper report", "Zombie reaper sweep"]
    assert len(awx.surveys) == 4
    project = awx.named("projects", "Zombie reaper")
    assert (project["scm_type"], project["scm_url"], project["scm_update_on_launch"]) == (
        "git",
        "https://git.example.org/fleet.git",
        True,
    )
    sweep = awx.named("job_templates", "Zombie reaper sweep")
    assert (sweep["playbook"], sweep["project"], sweep["job_slice_count"]) == (
        "playbooks/sweep.yml",
        project["id"],
        1,
    )
    assert (
        sweep["ask_limit_on_launch"] and sweep["ask_job_type_on_launch"] and sweep["survey_enabled"]
    )
    assert "INTERVAL=15" in awx.named("schedules", "Zombie reaper sweep")["rrule"]

    awx.named("inventories", "Nodes")["description"] = "ours"
    made = json.dumps([awx.objects, awx.surveys, awx.associated])
    assert set_up(SCM_URL) == 0
    assert json.dumps([awx.objects, awx.surveys, awx.associated]) == made
    assert awx.associated[sweep["url"] + "credentials"] == [
        awx.named("credentials", "by ssh")["id"]
    ]


def test_the_variables_change_what_is_made(root, bin, run):
    given = {
        "zombie_reaper_awx_scm_url": "https://git.example.org/fleet.git",
        "zombie_reaper_awx_organization": "Operations",
        "zombie_reaper_awx_inventory": "Workers",
        "zombie_reaper_awx_slices": "4",
        "zombie_reaper_awx_sweep_minutes": "30",
        "zombie_reaper_awx_schedules": "false",
        "zombie_reaper_awx_execution_environment": "ours",
        "zombie_reaper_awx_playbooks": "",
    }
    show = (
        "{{ controller_projects + controller_inventories + controller_templates +"
        " controller_schedules }}"
    )
    done = run(
        bin / "ansible",
        "localhost",
        "-m",
        "ansible.builtin.debug",
        "-a",
        json.dumps({"msg": show}),
        "-e",
        f"@{root / 'playbooks/vars/awx.yml'}",
        "-e",
        json.dumps(given),
        ANSIBLE_STDOUT_CALLBACK="ansible.builtin.minimal",
    )
    project, inventory, sweep, _audit, report, _install, schedule, _daily = json.loads(
        done.stdout.partition(" => ")[2]
    )["msg"]
    assert (project["organization"], project["default_environment"]) == ("Operations", "ours")
    assert (inventory["organization"], inventory["name"], sweep["inventory"]) == (
        "Operations",
        "Workers",
        "Workers",
    )
    assert (sweep["playbook"], str(sweep["job_slice_count"]), report["job_slice_count"]) == (
        "sweep.yml",
        "4",
        1,
    )
    assert (schedule["enabled"], schedule["rrule"].rpartition("=")[2]) == (False, "30")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["zombie_reaper_awx_scm_url", "now ''", "https://"]),
        (["zombie_reaper_awx_scm_url=' '"], ["zombie_reaper_awx_scm_url"]),
        (
            [SCM_URL, "zombie_reaper_awx_sweep_minutes=soon"],
            ["zombie_reaper_awx_sweep_minutes", "now soon", "whole number"],
        ),
        ([SCM_URL, "zombie_reaper_awx_slices=0"], ["zombie_reaper_awx_slices", "now 0"]),
    ],
)
def test_what_is_missing_or_wrong_is_said_before_anything_is_made(awx, set_up, arguments, words):
    with pytest.raises(pytest.fail.Exception) as failed:
        set_up(*arguments)
    said = " ".join(str(failed.value).split())
    assert [word for word in words if word not in said] == []
    assert "Traceback" not in said and awx.changes == []


def test_the_data_has_the_parameters_of_the_modules(data, root, bin, run):
    """By the same names infra.aap_configuration hands them to the same modules."""
    pairs = {
        "controller_projects": "project",
        "controller_inventories": "inventory",
        "controller_templates": "job_template",
        "controller_schedules": "schedule",
    }
    done = run(
        bin / "ansible-doc",
        "-t",
        "module",
        "--json",
        *("awx.awx." + module for module in pairs.values()),
        cwd=root,
        ANSIBLE_CONFIG=str(root / "ansible.cfg"),
        ANSIBLE_COLLECTIONS_PATH=str(root / ".cache/collections"),
    )
    documented = json.loads(done.stdout)
    (play,) = yaml.safe_load((root / "playbooks/awx.yml").read_text(encoding="utf-8"))
    for variable, module in pairs.items():
        options = documented["awx.awx." + module]["doc"]["options"]
        (task,) = (task for task in play["tasks"] if "awx.awx." + module in task)
        for item in data[variable]:
            assert set(item) <= set(options)
            assert set(item) == set(task["awx.awx." + module]), (
                "the playbook hands on all that the data has"
            )


def test_surveys_are_as_awx_wants_them(templates):
    for template in templates.values():
        assert wrong_with(template["survey_spec"]) is None


def test_the_rules_for_surveys_can_be_broken(templates):
    survey = templates["sweep.yml"]["survey_spec"]
    for change in (
        {"type": "boolean"},
        {"default": True},
        {"default": "all of them"},
        {"required": "no"},
        {"choices": ""},
    ):
        broken = {**survey, "spec": [{**survey["spec"][0], **change}]}
        assert wrong_with(broken), change


def test_a_question_left_blank_has_the_default_of_the_role(templates, root):
    defaults = yaml.safe_load(
        (root / "roles/zombie_reaper/defaults/main.yml").read_text(encoding="utf-8")
    )
    assert set(templates) == {"sweep.yml", "audit.yml", "report.yml", "site.yml"}
    for template in templates.values():
        for question in template["survey_spec"]["spec"]:
            assert not question["required"] and refusal(question, question["default"]) is None, (
                "a schedule answers nothing"
            )
            if question["variable"] in defaults:
                assert as_text(question["default"]) == as_text(defaults[question["variable"]]), (
                    question["variable"]
                )
            else:
                assert question["variable"] in {
                    "zombie_reaper_probe",
                    "zombie_reaper_report_dest",
                    "zombie_reaper_report_keep_days",
                }


def test_answers_that_awx_refuses(templates):
    """A blank answer that would take protection away is among them."""
    for answer in (
        {"zombie_reaper_protect_namespaces": ""},
        {"zombie_reaper_min_age": "60"},
        {"zombie_reaper_remedies": "reboot"},
    ):
        with pytest.raises(AssertionError):
            answered(templates["sweep.yml"]["survey_spec"], **answer)


def test_no_question_is_a_multiple_choice_of_several(templates):
    """AWX does not send one that was emptied, and the default would hold; so there is a word for no
    remedy at all.
    """
    assert "none" in templates["sweep.yml"]["survey_spec"]["spec"][0]["choices"].split("\n")
    assert {
        question["type"]
        for template in templates.values()
        for question in template["survey_spec"]["spec"]
    } == {"text", "textarea", "integer", "float", "multiplechoice"}


def test_choices_are_those_of_the_role(templates, root):
    options = yaml.safe_load(
        (root / "roles/zombie_reaper/meta/argument_specs.yml").read_text(encoding="utf-8")
    )["argument_specs"]["main"]["options"]
    for question in templates["site.yml"]["survey_spec"]["spec"]:
        if "choices" in options[question["variable"]]:
            assert question["choices"].split("\n") == [
                str(choice) for choice in options[question["variable"]]["choices"]
            ]


@pytest.mark.parametrize("name", ["sweep.yml", "audit.yml", "site.yml", "report.yml"])
def test_the_playbook_of_each_job_template_is_there(root, name):
    assert os.path.isfile(root / "playbooks" / name)


def as_text(value) -> str:
    """A default as AWX has it: lists as text, booleans as words."""
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower().replace(", ", ",")
