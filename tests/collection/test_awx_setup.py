"""playbooks/awx.yml with the real modules of awx.awx, against as much of AWX's API as they ask
for.
"""

from __future__ import annotations

import json
import os
import re

import pytest
import yaml
from ansible_collections.provider.fleet.plugins.filter.survey_with_defaults import (
    survey_with_defaults,
)
from rig.awx_api import Awx, wrong_with
from rig.awx_job import answered, refusal

SCM_URL = "zombie_reaper_awx_scm_url=https://git.example.org/fleet.git"

PAIRS = {
    "controller_projects": "project",
    "controller_inventories": "inventory",
    "controller_templates": "job_template",
    "controller_schedules": "schedule",
}
# What the roles of infra.aap_configuration hand to the modules as it stands, even if it is empty.
# Everything else they leave out if it is empty.
AS_IT_STANDS = {
    "controller_projects": {
        "name",
        "scm_type",
        "scm_branch",
        "scm_update_on_launch",
        "credential",
        "organization",
        "state",
        "update_project",
    },
    "controller_inventories": {"name", "organization", "state"},
    "controller_templates": {
        "name",
        "job_type",
        "ask_limit_on_launch",
        "ask_job_type_on_launch",
        "ask_diff_mode_on_launch",
        "ask_verbosity_on_launch",
        "ask_credential_on_launch",
        "allow_simultaneous",
        "survey_enabled",
        "survey_spec",
    },
    "controller_schedules": {"name", "enabled", "state"},
}


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
def play(root, bin, run, awx):
    """play(playbook, *arguments): how many changes Ansible counted."""

    def play(playbook, *arguments):
        flags = [
            part
            for argument in arguments
            for part in ([argument] if argument.startswith("--") else ["-e", argument])
        ]
        done = run(
            bin / "ansible-playbook",
            playbook,
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

    return play


@pytest.fixture
def set_up(root, play):
    """set_up(*arguments): plays playbooks/awx.yml; how many changes Ansible counted."""

    def set_up(*arguments):
        return play(root / "playbooks/awx.yml", *arguments)

    return set_up


def state_of(awx) -> str:
    """All that is in AWX."""
    assert awx.objects.get("tokens", []) == [], "nobody leaves a token behind"
    return json.dumps([awx.objects, awx.surveys, awx.associated])


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
    assert len(awx.surveys) == 5
    project = awx.named("projects", "Zombie reaper")
    assert (project["scm_type"], project["scm_url"]) == ("git", "https://git.example.org/fleet.git")
    assert not {"scm_branch", "scm_update_on_launch", "credential"} & set(project)
    sweep = awx.named("job_templates", "Zombie reaper sweep")
    assert (sweep["playbook"], sweep["project"]) == ("playbooks/sweep.yml", project["id"])
    assert (
        sweep["ask_limit_on_launch"] and sweep["ask_job_type_on_launch"] and sweep["survey_enabled"]
    )
    assert "INTERVAL=15" in awx.named("schedules", "Zombie reaper sweep")["rrule"]

    made = state_of(awx)
    changes = [SCM_URL, "zombie_reaper_awx_scm_branch=v2", "zombie_reaper_awx_slices=3"]
    # project, job templates and schedules: one that is to change hides no other
    assert set_up(*changes, "zombie_reaper_awx_sweep_minutes=30", "--check") == 3
    assert state_of(awx) == made, "nothing was changed"

    awx.named("inventories", "Nodes")["description"] = "ours"
    made = state_of(awx)
    assert set_up(SCM_URL) == 0
    assert state_of(awx) == made
    assert awx.associated[sweep["url"] + "credentials"] == [
        awx.named("credentials", "by ssh")["id"]
    ]


@pytest.mark.full
def test_two_organizations(awx, set_up):
    """Each has its own of everything, under the same names, however often it is set up."""
    organizations = {
        name: awx.make("organizations", name=name)["id"] for name in ("Operations", "R+D")
    }
    for _again in range(2):
        for name in organizations:
            set_up(SCM_URL, json.dumps({"zombie_reaper_awx_organization": name}))
    for kind in ("projects", "inventories", "job_templates"):
        assert {item["organization"] for item in awx.objects[kind]} == set(organizations.values())
        of_one, of_other = (
            sorted(item["name"] for item in awx.objects[kind] if item["organization"] == number)
            for number in organizations.values()
        )
        assert of_one == of_other
    templates = {item["id"]: item for item in awx.objects["job_templates"]}
    inventories = {item["id"]: item for item in awx.objects["inventories"]}
    for template in templates.values():
        assert inventories[template["inventory"]]["organization"] == template["organization"]
    scheduled = [templates[item["unified_job_template"]] for item in awx.objects["schedules"]]
    assert sorted((item["organization"], item["name"]) for item in scheduled) == [
        (number, name)
        for number in organizations.values()
        for name in ("Zombie reaper report", "Zombie reaper sweep")
    ]


def test_inventories_of_one_name_are_an_error_in_the_stand_in(awx):
    """As in AWX: without the organization nobody knows which is meant."""
    other = awx.make("organizations", name="Operations")
    for organization in (awx.default, other):
        body = {"name": "Nodes", "organization": organization["id"]}
        assert awx.answer("POST", "/api/v2/inventories/", dict(body))[0] == 201
        assert awx.answer("POST", "/api/v2/inventories/", dict(body))[0] == 400
    assert awx.answer("GET", "/api/v2/inventories/?name=Nodes", {})[1]["count"] == 2
    status, found = awx.answer("GET", "/api/v2/inventories/Nodes++Operations/", {})
    assert (status, found["organization"]) == (200, other["id"])


def test_a_first_schedule_only_reports(awx, set_up, templates):
    """Until somebody says otherwise. The page of a daily report without a directory would be gone
    with its job, so that schedule is not enabled.
    """
    set_up(SCM_URL)
    sweep = awx.named("schedules", "Zombie reaper sweep")
    assert (sweep["enabled"], sweep["extra_data"]) == (True, {"zombie_reaper_remedies": "none"})
    answers = answered(templates["sweep.yml"]["survey_spec"], **sweep["extra_data"])
    assert answers["zombie_reaper_remedies"] == "none"
    report = awx.named("schedules", "Zombie reaper report")
    assert (report["enabled"], report["extra_data"]) == (False, {})


@pytest.mark.full
def test_what_an_operator_changed_stays_until_a_variable_says_otherwise(awx, set_up):
    set_up(SCM_URL)
    project = awx.named("projects", "Zombie reaper")
    template = awx.named("job_templates", "Zombie reaper sweep")
    sweep = awx.named("schedules", "Zombie reaper sweep")
    project.update(scm_branch="v2.0.0", scm_update_on_launch=True)
    template.update(job_slice_count=4, forks=1, limit="canary")
    sweep["enabled"] = False
    sweep["rrule"] = sweep["rrule"].replace("INTERVAL=15", "INTERVAL=60")
    sweep["extra_data"]["zombie_reaper_max_parents"] = 1
    survey = awx.surveys[template["url"] + "survey_spec"]
    defaults = {"zombie_reaper_remedies": "none", "zombie_reaper_max_parents": 2}
    for question in survey["spec"]:
        question["default"] = defaults.get(question["variable"], question["default"])
    changed = state_of(awx)
    assert set_up(SCM_URL) == 0
    assert state_of(awx) == changed

    given = {
        "zombie_reaper_awx_scm_branch": "v0.2.0",
        "zombie_reaper_awx_scm_update_on_launch": False,
        "zombie_reaper_awx_slices": 2,
        "zombie_reaper_awx_sweep_minutes": 30,
        "zombie_reaper_awx_scheduled_remedies": ["reap", "nudge"],
        "zombie_reaper_awx_report_dest": "/srv/zombie-reports",
        "zombie_reaper_awx_schedules": True,
    }
    set_up(SCM_URL, json.dumps(given))
    assert (project["scm_branch"], project["scm_update_on_launch"]) == ("v0.2.0", False)
    assert (template["job_slice_count"], template["forks"], template["limit"]) == (2, 1, "canary")
    assert sweep["enabled"] and sweep["rrule"].endswith("INTERVAL=30")
    assert sweep["extra_data"] == {
        "zombie_reaper_remedies": "reap,nudge",
        "zombie_reaper_max_parents": 1,
    }
    report = awx.named("schedules", "Zombie reaper report")
    assert report["enabled"] and report["rrule"].endswith("FREQ=DAILY;INTERVAL=1")
    assert report["extra_data"] == {"zombie_reaper_report_dest": "/srv/zombie-reports"}
    made = state_of(awx)
    assert set_up(SCM_URL, json.dumps(given)) == 0 and set_up(SCM_URL) == 0
    assert state_of(awx) == made


def test_new_questions_keep_the_defaults_of_a_survey(templates):
    survey = templates["sweep.yml"]["survey_spec"]
    assert survey_with_defaults(survey, {}) == survey
    old = {
        "zombie_reaper_remedies": "none",
        "zombie_reaper_min_age": 0,
        "zombie_reaper_pressure": 1.0,
        "zombie_reaper_scope": "pods",  # no choice of ours
        "zombie_reaper_grace": "long",
        "zombie_reaper_tolerate": -1,
        "zombie_reaper_protect": "^/opt/a",
        "zombie_reaper_protect_namespaces": "",
        "zombie_reaper_min_usage": 0.9,  # an option that was removed
        "ours": "x",
    }
    existing = {"spec": [{"variable": name, "default": value} for name, value in old.items()]}
    before = json.dumps(survey)
    made = survey_with_defaults(survey, existing)
    assert json.dumps(survey) == before, "the new survey is left as it is"
    was = {question["variable"]: question for question in survey["spec"]}
    kept = {
        question["variable"]: question["default"]
        for question in made["spec"]
        if question != was.get(question["variable"])
    }
    assert kept == {
        "zombie_reaper_remedies": "none",
        "zombie_reaper_min_age": 0,
        "zombie_reaper_pressure": 1.0,
        "zombie_reaper_protect": "^/opt/a",
        "ours": "x",
    }
    assert [question["variable"] for question in made["spec"]] == [*was, "ours"]


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
    project, inventory, _look, sweep, _audit, report, _install, schedule, _daily = json.loads(
        done.stdout.partition(" => ")[2]
    )["msg"]
    assert (project["organization"], project["default_environment"]) == ("Operations", "ours")
    assert (inventory["organization"], inventory["name"], sweep["inventory"]) == (
        "Operations",
        "Workers",
        "Workers++Operations",
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
        (
            [SCM_URL, "zombie_reaper_awx_scheduled_remedies=reap,explode"],
            ["zombie_reaper_awx_scheduled_remedies", "now 'reap,explode'", "reap,nudge or reap or"],
        ),
        (
            [SCM_URL, '{"zombie_reaper_awx_credentials": "by ssh"}'],
            ["zombie_reaper_awx_credentials names 'by ssh'", "AWX has no credentials of that name"],
        ),
    ],
)
def test_what_is_missing_or_wrong_is_said_before_anything_is_made(awx, set_up, arguments, words):
    with pytest.raises(pytest.fail.Exception) as failed:
        set_up(*arguments)
    said = " ".join(str(failed.value).split())
    assert [word for word in words if word not in said] == []
    assert "Traceback" not in said and "question_name" not in said and awx.changes == []


@pytest.mark.full
def test_what_is_missing_in_awx_is_said_without_the_surveys(awx, set_up):
    """Another error than those that are looked for beforehand."""
    with pytest.raises(pytest.fail.Exception) as failed:
        set_up(SCM_URL, json.dumps({"zombie_reaper_awx_credentials": ["by ssh++Machine+ssh++X"]}))
    said = " ".join(str(failed.value).split())
    assert "could not be found at /api/v2/credentials/by%20ssh++Machine+ssh++X" in said, said
    assert "question_name" not in said, said


@pytest.fixture
def by_the_roles(root, data, play, tmp_path):
    """by_the_roles(*arguments): plays what docs/awx.md shows for infra.aap_configuration, as far as
    its roles go: they hand each entry to these modules, one parameter like the other.
    """
    tasks = []
    for variable, module in PAIRS.items():
        names = sorted({name for item in data[variable] for name in item} - {"<<"})
        parameters = {}
        for name in names:
            blank = "" if name in AS_IT_STANDS[variable] else ", true"
            value = f"item.{name} | default(omit{blank})"
            if name in ("credential", "organization", "inventory", "project"):
                value = f"item.{name}.name | default({value})"
            parameters[name] = f"{{{{ {value} }}}}"
        tasks.append({"awx.awx." + module: parameters, "loop": f"{{{{ {variable} }}}}"})
    (tmp_path / "roles.yml").write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "localhost",
                    "connection": "local",
                    "gather_facts": False,
                    "vars_files": [str(root / "playbooks/vars/awx.yml")],
                    "tasks": tasks,
                }
            ]
        ),
        encoding="utf-8",
    )
    return lambda *arguments: play(tmp_path / "roles.yml", *arguments)


@pytest.mark.full
def test_the_roles_of_infra_aap_configuration(awx, set_up, by_the_roles):
    """They make the same as playbooks/awx.yml, and leave schedules that are there as they are."""
    assert by_the_roles(SCM_URL) == 4
    assert len(awx.objects["job_templates"]) == 5 and len(awx.surveys) == 5
    made = state_of(awx)
    assert set_up(SCM_URL) == 0
    awx.named("schedules", "Zombie reaper sweep")["enabled"] = False
    assert by_the_roles(SCM_URL) == 0
    assert state_of(awx) == made.replace('"enabled": true', '"enabled": false', 1)


def test_the_roles_hand_on_an_empty_credential(awx, by_the_roles):
    """So the data must not have one."""
    project = {"name": "x", "organization": "Default", "scm_type": "git", "credential": ""}
    with pytest.raises(pytest.fail.Exception, match="credentials"):
        by_the_roles(SCM_URL, json.dumps({"controller_projects": [project]}))


def test_the_data_has_the_parameters_of_the_modules(data, root, bin, run):
    """By the same names infra.aap_configuration hands them to the same modules."""
    done = run(
        bin / "ansible-doc",
        "-t",
        "module",
        "--json",
        *("awx.awx." + module for module in PAIRS.values()),
        cwd=root,
        ANSIBLE_CONFIG=str(root / "ansible.cfg"),
        ANSIBLE_COLLECTIONS_PATH=str(root / ".cache/collections"),
    )
    documented = json.loads(done.stdout)
    (play,) = yaml.safe_load((root / "playbooks/awx.yml").read_text(encoding="utf-8"))
    (tasks,) = (task["block"] for task in play["tasks"] if "block" in task)
    for variable, module in PAIRS.items():
        options = documented["awx.awx." + module]["doc"]["options"]
        task = next(task for task in tasks if "awx.awx." + module in task)
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
    assert set(templates) == {"look.yml", "sweep.yml", "audit.yml", "report.yml", "site.yml"}
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


@pytest.mark.parametrize("name", ["look.yml", "sweep.yml", "audit.yml", "site.yml", "report.yml"])
def test_the_playbook_of_each_job_template_is_there(root, name):
    assert os.path.isfile(root / "playbooks" / name)


def as_text(value) -> str:
    """A default as AWX has it: lists as text, booleans as words."""
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower().replace(", ", ",")
