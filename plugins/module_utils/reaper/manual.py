# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The man page of the command, and its completion for bash and zsh, made from the table of its
flags. They are written on a node when the command is.
"""

from __future__ import annotations

import textwrap

from . import VERSION
from .flags import (
    ABSTRACT,
    DESCRIPTION,
    DIRECTORIES,
    EXIT_STATUSES,
    FILES,
    FLAGS,
    NAME,
    OPTIONS,
    described,
)
from .paths import CONFIG, DAEMON_STATUS, LAST_REPORT, RUN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .flags import Flag

EVERY_FLAG = (*FLAGS, *OPTIONS.values())
EXAMPLES = (
    ("Look, and change nothing:", f"{NAME} --check"),
    ("Sweep now, and wait for zombies that are not old enough yet:", f"{NAME} --wait"),
    ("Say why nothing is done about a process:", f"{NAME} --explain 4711"),
    ("Show which containers will leak:", f"{NAME} --audit"),
    ("Report only, whatever the configuration says:", f"{NAME} --remedies none"),
)
FILES_OF_IT = (
    (CONFIG, "The options of this node: one JSON object."),
    (f"{RUN}/{LAST_REPORT}", "What the last sweep did."),
    (f"{RUN}/{DAEMON_STATUS}", "What the daemon does."),
)


def man_page() -> str:
    """The man page, in the macros of man(7)."""
    lines = [
        r".\" Managed by Ansible (provider.fleet.zombie_reaper_agent)",
        f'.TH {NAME.upper()} 8 "" "provider.fleet {VERSION}" "System Administration"',
        ".nh",  # what is copied from it has no hyphens of the page's own
        ".ad l",
        ".SH NAME",
        rf"{_roff(NAME)} \- {_roff(ABSTRACT)}",
        ".SH SYNOPSIS",
        f".B {_roff(NAME)}",
        r"[\fIflag\fR]...",
        ".SH DESCRIPTION",
        *_text(DESCRIPTION),
        ".PP",
        *_text("A zombie is a process that has exited and that its parent has not waited for."),
        ".SH FLAGS",
        *_tagged(FLAGS),
        ".SH OPTIONS OF A SWEEP",
        *_text("In the configuration they have underscores in place of dashes."),
        *_tagged(OPTIONS.values()),
        ".SH EXIT STATUS",
    ]
    for which, statuses in EXIT_STATUSES:
        if which:
            lines += [".PP", *_text(f"{which[0].upper()}{which[1:]}:")]
        for status in statuses:
            lines += [".TP", f".B {status.value}", *_text(status.meaning)]
    lines.append(".SH FILES")
    for path, text in FILES_OF_IT:
        lines += [".TP", f".I {_roff(path)}", *_text(text)]
    lines.append(".SH EXAMPLES")
    for text, command in EXAMPLES:
        lines += [".TP", f".B {_roff(command)}", *_text(text)]
    lines += [".SH SEE ALSO", ".BR ps (1),", ".BR wait (2),", ".BR proc (5)"]
    return "\n".join(lines) + "\n"


def _tagged(flags: Iterable[Flag]) -> list[str]:
    lines = []
    for flag in flags:
        value = rf" \fI{_roff(flag.value)}\fR" if flag.value else ""
        lines += [".TP", rf"\fB{_roff(flag.name)}\fR{value}", *_text(described(flag))]
    return lines


def _text(text: str) -> list[str]:
    """Text as lines of the source, short enough for every reader of man pages."""
    return [_roff(line) for line in textwrap.wrap(text, 60, break_on_hyphens=False)]


def _roff(text: str) -> str:
    """Text as roff shows it: a dash that can be copied, and no request at the start of a line."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text[:1] in (".", "'") else text


BASH = """\
# Managed by Ansible (provider.fleet.zombie_reaper_agent)
_%(function)s() {
    local current=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD-1]} before=
    # the shell takes --flag=value for three words
    if [[ $current == '=' ]]; then
        current=
    elif [[ $flag == '=' ]]; then
        flag=${COMP_WORDS[COMP_CWORD-2]}
    fi
    COMPREPLY=()
    case $flag in
%(values)s        *)
            mapfile -t COMPREPLY < <(compgen -W '%(flags)s' -- "$current")
            ;;
    esac
}
complete -F _%(function)s %(name)s
"""
BASH_VALUE = """\
        %(flag)s)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen %(sources)s -- "$current")
            ;;
"""
BASH_LIST = """\
        %(flag)s)
            [[ $current != *,* ]] || before=${current%%,*},
            mapfile -t COMPREPLY < <(compgen -P "$before" -W '%(words)s' -- "${current##*,}")
            ;;
"""
ZSH = """\
#compdef %(name)s
# Managed by Ansible (provider.fleet.zombie_reaper_agent)
_arguments -S"""


def bash_completion() -> str:
    """The completion for bash."""
    values = []
    for flag in EVERY_FLAG:
        words = " ".join(flag.choices)
        if flag.is_list:
            values.append(BASH_LIST % {"flag": flag.name, "words": words})
        elif flag.value:
            sources = [f"-W '{words}'"] if words else []
            if flag.offers:
                sources.append("-f" if flag.offers == FILES else "-d")
            values.append(BASH_VALUE % {"flag": flag.name, "sources": " ".join(sources) or "-W ''"})
    return BASH % {
        "name": NAME,
        "function": NAME.replace("-", "_"),
        "values": "".join(values),
        "flags": " ".join(flag.name for flag in EVERY_FLAG),
    }


def zsh_completion() -> str:
    """The completion for zsh."""
    specs = []
    for flag in EVERY_FLAG:
        spec = f"{'*' if flag.repeats else ''}{flag.name}{'=' if flag.value else ''}"
        spec += f"[{_zsh(flag.help)}]"
        if flag.value:
            spec += f":{flag.value}:{_zsh_action(flag)}"
        specs.append("    '" + spec.replace("'", "'\\''") + "'")
    return " \\\n".join([ZSH % {"name": NAME}, *specs]) + "\n"


def _zsh_action(flag: Flag) -> str:
    words = " ".join(flag.choices)
    if flag.is_list:
        return f"_sequence compadd - {words}"
    paths = {None: "", FILES: "_files", DIRECTORIES: "_files -/"}[flag.offers]
    if words and paths:
        return rf'_alternative "words\:word\:({words})" "paths\:path\:{paths}"'
    return paths or (f"({words})" if words else " ")


def _zsh(text: str) -> str:
    """An explanation within brackets."""
    for character in "\\[]:":
        text = text.replace(character, "\\" + character)
    return text
