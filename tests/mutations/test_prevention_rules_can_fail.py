"""Break each rule of which containers get an init in a copy of the engine, and see its test go
red.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.full

BUNDLE, ROOTFS, CREATE, INSTALL = (
    f"prevention/{name}.py" for name in ("bundle", "rootfs", "create", "install")
)
UNIT, RUNTIME = (
    "tests/unit/test_prevention.py::test_",
    "tests/integration/test_init_runtime.py::test_",
)
WRONG, DOUBT = UNIT + "an_init_would_be_wrong[%s]", UNIT + "on_any_doubt_nothing_is_changed[%s]"
BROKEN = RUNTIME + "where_something_of_it_is_broken_the_container_starts_without[%s]"

# what is broken: (file, text that stands there once, what stands there then, the test that has to
# fail)
MUTATIONS = {
    # where an init would be wrong
    "sandboxes_get_one": (
        BUNDLE,
        'if any(annotations.get(key) == "sandbox" for key in SANDBOX):',
        "if False:",
        WRONG % "a sandbox of containerd",
    ),
    "a_command_of_busybox_is_a_word": (
        BUNDLE,
        'STARTERS = ("exec", "busybox", "toybox")',
        'STARTERS = ("exec",)',
        WRONG % "an init of busybox",
    ),
    "a_mask_hides_no_init": (
        BUNDLE,
        'if masked.intersection(("/", "/dev", MOUNT)):',
        "if False:",
        DOUBT % "a masked /dev",
    ),
    "settings_of_tini_are_for_nobody": (
        BUNDLE,
        'if any(text.startswith("TINI_") for text in environment):',
        "if False:",
        DOUBT % "settings of tini",
    ),
    "others_speak_for_the_group": (
        ROOTFS,
        "needed = stat.S_IXGRP | stat.S_IXOTH",
        "needed = stat.S_IXOTH",
        DOUBT % "for all but its group",
    ),
    "sandboxes_of_crio_get_one": (
        BUNDLE,
        '"io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"',
        '"io.kubernetes.cri.container-type",',
        WRONG % "a sandbox of CRI-O",
    ),
    "nobody_opts_out": (
        BUNDLE,
        'annotations.get(OPT_OUT, "").lower() in OPTED_OUT',
        "False",
        WRONG % "opted out",
    ),
    "the_namespace_of_the_node_is_its_own": (
        BUNDLE,
        'if len(own) != 1 or own[0].get("path"):',
        'if own and own[0].get("path"):',
        WRONG % "the PID namespace of the node",
    ),
    "the_namespace_of_another_is_its_own": (
        BUNDLE,
        'if len(own) != 1 or own[0].get("path"):',
        "if len(own) != 1:",
        WRONG % "the PID namespace of the pod",
    ),
    "inits_get_another": (
        BUNDLE,
        'if needs_no_init(arguments[0], is_command=True) or _has_init(" ".join(arguments)):',
        "if False:",
        WRONG % "the init /sbin/docker-init",
    ),
    "an_init_behind_a_shell_is_not_seen": (
        BUNDLE,
        ' or _has_init(" ".join(arguments))',
        "",
        WRONG % "an init behind a shell",
    ),
    "a_link_to_an_init_is_not_seen": (
        BUNDLE,
        "if needs_no_init(program.path, is_command=True):",
        "if False:",
        WRONG % "a link to an init",
    ),
    "ours_is_no_init": (
        "node/init_names.py",
        '"tini-static",\n    "zombie-reaper-init",',
        '"tini-static",',
        WRONG % "the init /dev/zombie-reaper-init",
    ),
    # where nobody can be sure
    "scripts_are_not_read": (
        BUNDLE,
        "_no_init_in(program.start)",
        "pass",
        DOUBT % "a script that ends with an init",
    ),
    "a_limit_has_always_room": (
        BUNDLE,
        "if 0 < pids < LEAST_PIDS:",
        "if False:",
        DOUBT % "a limit without room",
    ),
    "selinux_allows_all": (
        BUNDLE,
        'if process.get("selinuxLabel"):',
        "if False:",
        DOUBT % "SELinux",
    ),
    "every_profile_allows_all": (
        BUNDLE,
        "if profile not in APPARMOR_PROFILES and not profile.startswith(APPARMOR_OF_PODMAN):",
        "if False:",
        DOUBT % "a profile of its own",
    ),
    "seccomp_allows_all": (
        BUNDLE,
        "if allowed != CALLS:",
        "if False:",
        DOUBT % "seccomp without fork",
    ),
    "a_rule_against_a_call_is_not_seen": (
        BUNDLE,
        "elif names and not (",
        "elif False and not (",
        DOUBT % "seccomp against wait4",
    ),
    "signals_need_no_capability": (
        BUNDLE,
        "if CAP_KILL not in (capabilities.get(of_init) or []) and CAP_SETUID in (",
        "if False and CAP_SETUID in (",
        DOUBT % "without CAP_KILL",
    ),
    "set_user_id_changes_nothing": (
        BUNDLE,
        "if program.info.st_mode & (stat.S_ISUID | stat.S_ISGID):",
        "if False:",
        DOUBT % "set-user-ID",
    ),
    "every_processor_is_the_same": (
        BUNDLE,
        "if header.machine != machine.machine:",
        "if False:",
        DOUBT % "another processor",
    ),
    "a_dynamic_linker_is_not_looked_for": (
        BUNDLE,
        "if header.interpreter and image.program(header.interpreter, caller, 0) is None:",
        "if False:",
        DOUBT % "no dynamic linker",
    ),
    "any_dev_will_do": (
        BUNDLE,
        "if found is not None or not is_its_own:",
        "if False:",
        DOUBT % "the node's /dev",
    ),
    "the_image_may_turn_dev": (
        BUNDLE,
        'real = image.real(mount["destination"])',
        'real = mount["destination"]',
        DOUBT % "a /dev that leads elsewhere",
    ),
    "the_init_is_mounted_last": (
        BUNDLE,
        "found = number + 1",
        "found = len(mounts)",
        UNIT + "the_init_comes_before_the_command_and_nothing_else_changes",
    ),
    # paths in an image
    "volumes_are_part_of_the_image": (
        ROOTFS,
        "if walked.is_below(self.covered):",
        "if False:",
        DOUBT % "in a volume behind a link",
    ),
    "links_are_followed": (
        ROOTFS,
        "os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC",
        "os.O_PATH | os.O_CLOEXEC",
        UNIT + "no_path_leads_out_of_the_image",
    ),
    "absolute_links_begin_where_they_are": (
        ROOTFS,
        'if target.startswith("/"):',
        "if False:",
        UNIT + "paths_are_those_of_a_process_in_the_image",
    ),
    "all_may_execute_it": (
        ROOTFS,
        "if not caller.overrides and not all(map(caller.may_execute, infos)):",
        "if False:",
        DOUBT % "for its owner only",
    ),
    # the file, and the call
    "fractions_are_fine": (
        "prevention/json_text.py",
        "parse_float = parse_constant = staticmethod(_refuse)",
        "parse_float = parse_constant = float",
        UNIT + "what_is_no_json_is_an_error[[1.5]]",
    ),
    "the_file_is_given_to_root": (
        "files.py",
        "os.fchown(fd, *owner)",
        "pass",
        UNIT + "owner_and_mode_of_the_file_stay",
    ),
    "unknown_flags_change_nothing": (
        CREATE,
        "elif word not in WITHOUT:",
        "elif False:",
        UNIT + "flags_of_the_runtime[arguments6---config]",
    ),
    "tenants_write_lines_of_the_journal": (
        CREATE,
        'each if " " <= each <= "~" else',
        "each if True else",
        UNIT + "what_a_tenant_writes_cannot_begin_a_line_of_the_journal",
    ),
    "sockets_are_kept_from_it": (
        CREATE,
        'if os.environ.get("LISTEN_FDS") or os.environ.get("NOTIFY_SOCKET"):',
        "if False:",
        UNIT + "sockets_for_pid_1_are_not_kept_from_it[LISTEN_FDS]",
    ),
    "an_init_for_some_is_an_init": (
        CREATE,
        "info.st_mode & 0o005 == 0o005",
        "True",
        BROKEN % "init_that_not_all_may_execute",
    ),
    "a_dynamic_init_is_an_init": (
        CREATE,
        "or header is None or header.interpreter is not None:",
        "or header is None:",
        BROKEN % "dynamic_init",
    ),
    "any_program_is_a_static_init": (
        INSTALL,
        "if header.interpreter is not None:",
        "if False:",
        UNIT + "an_init_is_static_of_root_and_runs",
    ),
    "the_shim_reads_what_python_says": (
        INSTALL,
        '"$@"; exit $?) </dev/null >/dev/null 2>&1 ||',
        '"$@"; exit $?) ||',
        BROKEN % "old_python",
    ),
    "the_shim_reads_that_python_was_killed": (
        INSTALL,
        '{python} -IS {create} "$@"; exit $?)',
        'exec {python} -IS {create} "$@")',
        BROKEN % "killed_python",
    ),
    "python_starts_for_every_call": (
        INSTALL,
        "create | run)",
        "create | run | start)",
        RUNTIME + "all_else_goes_to_the_real_runtime_without_python[arguments0]",
    ),
    "a_full_table_is_the_end": (
        INSTALL,
        """trap '[ $? = 0 ] ||""",
        """trap 'true ||""",
        RUNTIME + "where_no_process_can_be_started_the_real_runtime_has_its_say[dash]",
    ),
    "what_was_ended_goes_on": (
        INSTALL,
        """trap '[ $? = 0 ] ||""",
        """trap 'false ||""",
        RUNTIME + "who_ends_the_call_ends_it[bash]",
    ),
    "without_python_there_is_no_container": (
        INSTALL,
        '"$@"; exit $?) </dev/null >/dev/null 2>&1 ||',
        '"$@"; exit $?) </dev/null >/dev/null 2>&1 || exit 1;',
        BROKEN % "no_python",
    ),
}

CHANGES = {name: ([(file, old, new)], test) for name, (file, old, new, test) in MUTATIONS.items()}


@pytest.mark.parametrize("name", CHANGES)
def test_mutation(mutated, name):
    mutated(name)
