# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sources of the engine, from the payload that Ansible has sent to the node."""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import pkgutil
import sys


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
