# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of container runtimes: who may start which OCI runtime under which name.

toml.py: reads and writes TOML. edits.py: blocks of our own in files of others. handlers.py: which
handlers there will be. containerd.py, crio.py, docker.py: where each keeps them.
"""
