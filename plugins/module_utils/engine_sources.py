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
    if not belongs_to_root(directory):
        return False
    for path, text in of(package, directory).items():
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


def belongs_to_root(directory):
    """Whether it is a directory in which nobody but root can put files."""
    try:
        info = os.lstat(directory)
    except OSError:
        return False
    others = stat.S_IWGRP | stat.S_IWOTH
    return stat.S_ISDIR(info.st_mode) and info.st_uid == 0 and not info.st_mode & others
