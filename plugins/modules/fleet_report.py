#!/usr/bin/python
# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The work is done on the controller, by the action plugin of the same name

from __future__ import absolute_import, division, print_function

__metaclass__ = type

DOCUMENTATION = r"""
module: fleet_report
short_description: Write a report on the zombies of a whole fleet, as a page, as CSV and as JSON
version_added: 0.1.0
description:
  - Makes one report of what M(provider.fleet.zombie_info) and M(provider.fleet.init_audit) returned
    for the hosts of the play. It runs on the controller and contacts no node.
  - C(fleet.html) is a single page. It loads nothing else, and can be read without scripts.
    C(fleet.csv) and C(fleet.json) have the same data with all rows.
  - Each run is added to C(history.sqlite) in the same directory, from which the page draws its
    trends.
  - C(tenants) has a note in Markdown for each tenant with zombies or leaking containers, which can
    be sent as it is. A tenant is the owner of a verified lease on Akash, or else a Kubernetes
    namespace. Notes of earlier reports are removed.
  - Hosts that failed or were unreachable are listed with the reason.
  - The playbook C(provider.fleet.report) does all of this.
author:
  - The provider.fleet authors (@provider-fleet)
options:
  looks:
    description: Name of the variable that the result of M(provider.fleet.zombie_info) was
      registered in.
    type: str
    required: true
  audits:
    description: Name of the variable that the result of M(provider.fleet.init_audit) was
      registered in.
    type: str
  dest:
    description:
      - Directory on the controller. It is created if it does not exist.
      - A relative path starts from the directory in which C(ansible-playbook) was started.
    type: str
    default: zombie-reports
  keep_days:
    description: How many days a run is kept in the history, from 1 to 36500.
    type: int
    default: 400
  cluster:
    description:
      - Name of the cluster that the hosts belong to, if you report on several from one place. The
        page shows it. All files, the history among them, go to a directory of that name in
        O(dest). Otherwise hosts of the same name in two clusters would share one history.
      - At most 63 letters, digits, C(.), C(_) and C(-). It begins with a letter or a digit.
    type: str
    default: ""
    version_added: 2.0.0
attributes:
  action:
    description: Runs entirely on the controller.
    support: full
  check_mode:
    description: Writes nothing and returns what it would write.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: Every run is added to the history.
    support: none
requirements:
  - Python 3.9 with sqlite3 on the controller
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

- name: Judge the inits of the containers too
  provider.fleet.init_audit:
  become: true
  ignore_errors: true
  ignore_unreachable: true
  register: audit

- name: Write the report
  provider.fleet.fleet_report:
    looks: look
    audits: audit
    dest: /var/www/html/zombies
  run_once: true
  delegate_to: localhost

- name: Write the report of one of several clusters, and keep its history for two years
  provider.fleet.fleet_report:
    looks: look
    dest: /var/www/html/zombies
    cluster: "{{ cluster_name }}"
    keep_days: 730
  run_once: true
  delegate_to: localhost
  register: report

- name: Say where it is, and what is missing in it
  ansible.builtin.debug:
    msg: "{{ report.dest }}: {{ report.unread | dict2items | map(attribute='key') | list }} unread"
  run_once: true
"""

RETURN = r"""
dest:
  description: The directory.
  returned: success
  type: str
  sample: /home/op/zombie-reports
files:
  description: Names of the files that were written, or would be, and of the directory with the
    notes for tenants, if there are any.
  returned: success
  type: list
  elements: str
complete:
  description: That all was written, or would be, the history too.
  returned: success
  type: bool
totals:
  description: Totals for the fleet, as in C(fleet.json).
  returned: success
  type: dict
unread:
  description: Why a host or its audit could not be read, by host. Hosts that failed or were
    unreachable are among them.
  returned: success
  type: dict
  sample: {"node7": "its answer cannot be read: counts.zombies is 'many', not a number"}
"""
