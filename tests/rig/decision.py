"""What is decided about a zombie with the default options, as a flow chart whose answers are the
policy's own: ``.cache/test/bin/python tests/rig/decision.py --write`` draws it in docs/decision.md.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(CHECKOUT / "tests"), str(CHECKOUT / ".cache/collections")]
    os.environ.setdefault("ANSIBLE_COLLECTIONS_PATH", str(CHECKOUT / ".cache/collections"))

from ansible_collections.provider.fleet.plugins.module_utils.reaper import (  # noqa: E402
    options,
    policy,
)

from rig import written  # noqa: E402
from rig.handmade import container_process, node, orphan, zombie  # noqa: E402

DOCUMENT = CHECKOUT / "docs/decision.md"
MARKS = written.marks("decision")
DEFAULTS = options.Options()
ROOM, PRESSURE = 0.1, DEFAULTS.pressure  # shares of the process table that are taken
YOUNG = DEFAULTS.min_age / 2.0
# at that share, one of the two is enough to make room
OLDER = container_process(50, zombies=(zombie(100, 50, age=2.0 * policy.TOLERATED_FOR),))
LATER = container_process(51, zombies=(zombie(101, 51),))
LEAK = tuple(
    zombie(100 + number, age=2.0 * policy.TOLERATED_FOR) for number in range(DEFAULTS.tolerate + 1)
)

# {question: {answer: the next question, or an example of it: (parents, the last of which is judged,
# share taken, options)}}
CHART: dict[str, dict] = {
    "Does its parent belong to the node, or is it protected?": {
        "yes": ([container_process()], ROOM, DEFAULTS._replace(protect=(".",))),
        "no": "Can its parent collect anything now?",
    },
    "Can its parent collect anything now?": {
        "no: it is stopped, paused or in uninterruptible sleep": (
            [container_process(state="T")],
            PRESSURE,
            DEFAULTS,
        ),
        "yes": "Is there room?",
    },
    "Is there room?": {
        "yes": "Is it an orphan?",
        "no": "Has its parent held it for min_age?",
    },
    "Is it an orphan?": {
        "yes": "Has it been seen for min_age?",
        "no: its parent may ask for it": (
            "Does its parent hold more than tolerate, each older than an hour?"
        ),
    },
    "Has it been seen for min_age?": {
        "no": ([container_process(zombies=(orphan(age=YOUNG),))], ROOM, DEFAULTS),
        "yes": ([container_process(zombies=(orphan(),))], ROOM, DEFAULTS),
    },
    "Does its parent hold more than tolerate, each older than an hour?": {
        "no": ([container_process()], ROOM, DEFAULTS),
        "yes: the oldest": ([container_process(zombies=LEAK)], ROOM, DEFAULTS),
    },
    "Has its parent held it for min_age?": {
        "no": ([container_process(zombies=(zombie(age=YOUNG),))], PRESSURE, DEFAULTS),
        "yes": "Is it an orphan, or among the oldest, which have to make room?",
    },
    "Is it an orphan, or among the oldest, which have to make room?": {
        "no": ([OLDER, LATER], PRESSURE, DEFAULTS),
        "yes": ([LATER, OLDER], PRESSURE, DEFAULTS),
    },
}


def verdict(parents, usage, chosen) -> str:
    """What the policy answers about the last of them."""
    judged = policy.judge(node(*parents, usage=usage), chosen)[-1]
    if not judged.remedies:
        return f"left alone: {judged.reason}"
    return ", then ".join(judged.remedies)


def drawing() -> str:
    """A flow chart for Mermaid."""
    numbers = {question: f"q{number}" for number, question in enumerate(CHART)}
    lines = ["```mermaid", "flowchart TD"]
    lines.append("    accTitle: What is done to a zombie, by the questions that are asked about it")
    lines += [f'    {number}{{{{"{question}"}}}}' for question, number in numbers.items()]
    for question, answers in CHART.items():
        for number, (answer, then) in enumerate(answers.items()):
            if isinstance(then, str):
                below = numbers[then]
            else:
                below = f"{numbers[question]}a{number}"
                lines.append(f'    {below}["{verdict(*then)}"]')
            lines.append(f'    {numbers[question]} -- "{answer}" --> {below}')
    return "\n".join([*lines, "```", ""])


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("decision.py --write: draw the decision in docs/decision.md")
    written.write(DOCUMENT, MARKS, drawing())
