# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sources of the engine, from the payload that Ansible has sent to the node."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import pkgutil
import stat
import sys

INSTALLED = "/usr/local/lib/zombie_reaper"  # where the agent is unless it has a prefix


def of(package, directory):
    """{path: text} of a package and the packages in it, as installed below that directory. Only
    the packages are imported, not their modules: the node would compile those for nothing.
    """
    files = {}
    paths = [(package.__name__, package.__path__)]
    while paths:
        name, path = paths.pop()
        inside = name[len(package.__name__) :].replace(".", "/")
        loader = sys.modules[name].__loader__
        files[directory + inside + "/__init__.py"] = loader.get_source(name)
        for finder, inner, is_package in pkgutil.iter_modules(path, name + "."):
            if is_package:
                paths.append((inner, __import__(inner, fromlist=["__path__"]).__path__))
            else:
                # the finder of a zip file is the loader too
                loader = finder if hasattr(finder, "get_source") else finder.find_spec(inner).loader
                files["%s/%s.py" % (directory + inside, inner.rpartition(".")[2])] = (
                    loader.get_source(inner)
                )
    return files


def use_installed(package, directory=INSTALLED):
    """Import what is left of the package from a directory, if the very same files are there, and
    say so. Python keeps them there compiled, while what was sent is compiled anew each time, which
    takes longer than a sweep that finds nothing. Writes nothing.
    """
    directory = os.path.realpath(directory)
    checked = set()
    if not belongs_to_root(os.path.dirname(directory), checked, stat.S_ISVTX):
        return False
    for path, text in sorted(of(package, directory).items()):
        if not belongs_to_root(path, checked):
            return False
        # from here, Python takes what is compiled
        compiled = os.path.join(os.path.dirname(path), "__pycache__")
        if os.path.lexists(compiled) and not belongs_to_root(compiled, checked):
            return False
        try:
            with open(path, "rb") as file:
                if file.read() != text.encode("utf-8"):
                    return False
        except OSError:
            return False
    sys.dont_write_bytecode = True
    for name, module in list(sys.modules.items()):
        if (name + ".").startswith(package.__name__ + ".") and hasattr(module, "__path__"):
            inside = name[len(package.__name__) :].replace(".", "/")
            module.__path__ = [directory + inside]
    return True


def belongs_to_root(path, checked, sufficient=0):
    """Whether nobody but root can change or exchange what is there, here or in a directory above.
    Links are not followed. checked: paths that are known to be so; those that are found are added.

    sufficient: stat.S_ISVTX where it is enough that others cannot rename what belongs to root, as
    in /tmp. They can put files of their own there.
    """
    while path not in checked:
        try:
            info = os.lstat(path)
        except OSError:
            return False
        others = info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        is_link = stat.S_ISLNK(info.st_mode)
        if is_link or info.st_uid != 0 or others and not info.st_mode & sufficient:
            return False
        checked.add(path)
        path = os.path.dirname(path)
    return True
