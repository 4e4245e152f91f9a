#!/usr/bin/python
# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# An action plugin of this name does it, on the controller

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: fleet_report
short_description: Write a report on the zombies of a whole fleet, as a page, as CSV and as JSON
version_added: 0.1.0
description:
  - Makes one report of what M(provider.fleet.zombie_info) and M(provider.fleet.init_audit) returned
    of all hosts of the play, on the controller.
    No node is reached.
  - C(fleet.html) is one page that loads nothing and reads without scripts. C(fleet.csv) and
    C(fleet.json) have the same, and all rows of it.
  - Each run is added to C(history.sqlite) beside them, from which the page draws its trends.
  - Hosts that failed or were unreachable are in the report with the reason. The playbook
    C(provider.fleet.report) shows how it is used.
author:
  - The provider.fleet authors (@provider-fleet)
options:
  looks:
    description: Name of the variable in which the result of M(provider.fleet.zombie_info) was
      registered.
    type: str
    required: true
  audits:
    description: Name of the variable in which the result of M(provider.fleet.init_audit) was
      registered.
    type: str
  dest:
    description:
      - Directory on the controller; it is made where it is not there.
      - A relative one is below the directory that C(ansible-playbook) was started in.
    type: str
    default: zombie-reports
  keep_days:
    description: Days for which a run is kept in the history, from 1 to 36500.
    type: int
    default: 400
attributes:
  action:
    description: All of it runs on the controller.
    support: full
  check_mode:
    description: Writes nothing, and says what it would write.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: Each run is one more in the history.
    support: none
requirements:
  - Python 3.10 with sqlite3 on the controller
seealso:
  - module: provider.fleet.zombie_info
  - module: provider.fleet.init_audit
"""

EXAMPLES = r"""
- name: Look at every node
  provider.fleet.zombie_info:
  become: true
  ignore_errors: true
  ignore_unreachable: true
  register: look

- name: Write the report
  provider.fleet.fleet_report:
    looks: look
    dest: /var/www/html/zombies
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
dest:
  description: The directory.
  returned: success
  type: str
  sample: /home/op/zombie-reports
files:
  description: What was written, or would be.
  returned: success
  type: list
  elements: str
totals:
  description: The fleet in figures, as in C(fleet.json).
  returned: success
  type: dict
"""
