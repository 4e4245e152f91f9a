"""The alert rules as a PrometheusRule for the Prometheus Operator.

Prints it. With ``--write``, writes monitoring/kube-prometheus-stack/prometheus_rule.yml.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

MONITORING = Path(__file__).resolve().parents[1] / "monitoring"
HEADER = """\
# prometheus_rules.yml for the Prometheus Operator, made by tools/prometheus_rule.py --write.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: zombie-reaper
  labels:
    # the name of your Helm release: kube-prometheus-stack takes no rules without it
    release: kube-prometheus-stack
spec:
"""


def prometheus_rule() -> str:
    rules = (MONITORING / "prometheus_rules.yml").read_text(encoding="utf-8")
    return HEADER + textwrap.indent(rules[rules.index("groups:") :], "  ")


if sys.argv[1:] == ["--write"]:
    (MONITORING / "kube-prometheus-stack/prometheus_rule.yml").write_text(
        prometheus_rule(), encoding="utf-8"
    )
else:
    sys.stdout.write(prometheus_rule())
