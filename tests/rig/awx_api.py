"""As much of AWX's API as the modules of awx.awx ask for: objects by type and name, associations,
surveys, project updates.

It judges surveys as AWX does (awx/api/views), refuses what refers to nothing, and holds names to be
unique where AWX does: in an organization, and schedules in their template. Named URLs are those of
inventories alone, NAME++ORGANIZATION.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from rig.awx_job import refusal

ALLOWED = {
    "text": str,
    "textarea": str,
    "password": str,
    "multiplechoice": str,
    "multiselect": str,
    "integer": int,
    "float": float,
}


def wrong_with(survey) -> str | None:
    """What AWX has against a survey, None if it takes it."""
    if (
        not all(
            isinstance(survey.get(name), kind)
            for name, kind in (("name", str), ("description", str), ("spec", list))
        )
        or not survey["spec"]
    ):
        return "a survey has a name, a description and at least one question"
    variables = [question.get("variable") for question in survey["spec"]]
    if len(set(variables)) < len(variables):
        return "a variable is asked for twice"
    return next(filter(None, map(_wrong_with_question, survey["spec"])), None)


def _wrong_with_question(question):
    name = question.get("variable")
    for key, kind in (("type", str), ("question_name", str), ("variable", str), ("required", bool)):
        if not isinstance(question.get(key), kind):
            return f"{name}: {key} is missing or no {kind.__name__}"
    if question["type"] not in ALLOWED:
        return f"{name}: there is no type {question['type']}"
    default = question.get("default", "")
    if default != "" and not isinstance(default, ALLOWED[question["type"]]):
        return f"{name}: the default {default!r} is no {question['type']}"
    for key in ("min", "max"):
        if not isinstance(question.get(key), (int, type(None))):
            return f"{name}: {key} is no whole number"
    if question["type"] in ("multiplechoice", "multiselect"):
        choices = question.get("choices", "").splitlines()
        if not choices or any(item not in choices for item in default.splitlines()):
            return f"{name}: the default {default!r} is none of the choices {choices!r}"
    return None


class Awx:
    """A server on loopback. url: where; objects: type to list of objects; changes: requests that
    changed something, as text.
    """

    def __init__(self):
        self.objects = {}
        self.surveys = {}
        self.associated = {}
        self.changes = []
        self.last_id = 0
        self.default = self.make("organizations", name="Default")
        awx = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                size = int(self.headers.get("Content-Length") or 0)
                status, answer = awx.answer(
                    self.command, self.path, json.loads(self.rfile.read(size)) if size else {}
                )
                body = b"" if status == 204 else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("X-API-Product-Name", "AWX")
                self.send_header("X-API-Product-Version", "24.6.1")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_DELETE = answer

            def log_message(self, *_arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def make(self, kind, /, **fields) -> dict:
        self.last_id += 1
        url = f"/api/v2/{kind}/{self.last_id}/"
        made = {
            "id": self.last_id,
            "type": kind,
            "url": url,
            "summary_fields": {},
            "scm_revision": "",
            "token": "secret",
            **({"extra_data": {}} if kind == "schedules" else {}),
            "related": {"survey_spec": url + "survey_spec/", "update": url + "update/"},
            **fields,
        }
        self.objects.setdefault(kind, []).append(made)
        return made

    def names(self, kind) -> list:
        return sorted(item["name"] for item in self.objects.get(kind, []))

    def named(self, kind, name) -> dict:
        (found,) = (item for item in self.objects.get(kind, []) if item["name"] == name)
        return found

    def answer(self, method, path, body) -> tuple:
        """(status, JSON) for a request."""
        address = urlsplit(path)
        kind, *rest = address.path.strip("/").split("/")[2:]
        if method != "GET" and kind != "tokens":
            self.changes.append(f"{method} {address.path}")
        if not rest:
            return self._of_kind(method, kind, dict(parse_qsl(address.query)), body)
        if kind == "project_updates":
            return 200, {
                "status": "successful",
                "finished": "now",
                "failed": False,
                "scm_revision": "c0ffee",
            }
        item = self._one(kind, unquote(rest[0]))
        if item is None:
            return 404, {"detail": "Not found."}
        if method == "DELETE":
            self.objects[kind].remove(item)
            return 204, None
        if len(rest) == 1:
            wrong = kind == "schedules" and self._wrong_with_data({**item, **body})
            if wrong:
                return 400, wrong
            item.update(body)
            return 200, item
        return self._below(method, item, rest[1], body)

    def _one(self, kind, which):
        """The object of an id or of a named URL."""
        for item in self.objects.get(kind, []):
            if which == str(item["id"]) or (
                kind == "inventories" and which == self._named_url(item)
            ):
                return item
        return None

    def _named_url(self, item):
        names = (item["name"], self._one("organizations", str(item.get("organization")))["name"])
        return "++".join(name.replace("+", "[+]") for name in names)

    def _of_kind(self, method, kind, wanted, body):
        if method == "POST":
            wrong = self._wrong_with_new(kind, body)
            return (400, wrong) if wrong else (201, self.make(kind, **body))
        kinds = ("projects", "job_templates") if kind == "unified_job_templates" else (kind,)
        found = [
            item
            for kind in kinds
            for item in self.objects.get(kind, [])
            if all(str(self._field(item, name)) == value for name, value in wanted.items())
        ]
        return 200, {"count": len(found), "results": found, "next": None}

    def _field(self, item, name):
        """A field to filter by, which may be one of the organization's."""
        parent, _separator, field = name.partition("__")
        if not field:
            return item.get(name)
        return self._one(parent + "s", str(item.get(parent)))[field]

    def _wrong_with_new(self, kind, body):
        within = {"schedules": "unified_job_template"}.get(kind, "organization")
        if kind == "job_templates":
            project = self._one("projects", str(body.get("project")))
            if project is None:
                return {"project": ["there is no such project"]}
            body["organization"] = project["organization"]
        if any(
            item["name"] == body.get("name") and item.get(within) == body.get(within)
            for item in self.objects.get(kind, [])
            if "name" in item
        ):
            return {"__all__": [f"there is one of this name in this {within} already"]}
        if kind == "schedules":
            return self._wrong_with_data(body)
        return None

    def _wrong_with_data(self, schedule):
        """What AWX has against the extra variables of a schedule: each must answer a question of the
        survey.
        """
        template = self._one("job_templates", str(schedule["unified_job_template"]))
        survey = self.surveys[template["url"] + "survey_spec"]
        questions = {question["variable"]: question for question in survey["spec"]}
        for name, answer in (schedule.get("extra_data") or {}).items():
            wrong = (
                refusal(questions[name], answer) if name in questions else "not allowed on launch"
            )
            if wrong:
                return {"extra_data": [f"{name}: {wrong}"]}
        return None

    def _below(self, method, item, name, body):
        url = item["url"] + name
        if name == "survey_spec":
            if method == "GET":
                return 200, self.surveys.get(url, {})
            wrong = wrong_with(body)
            if wrong:
                return 400, {"error": wrong}
            self.surveys[url] = body
            return 200, {}
        if name == "update":
            item["scm_revision"] = "c0ffee"
            return 202, {"id": 1, "url": "/api/v2/project_updates/1/"}
        ids = self.associated.setdefault(url, [])
        if method == "POST":
            if body.get("disassociate"):
                ids.remove(body["id"])
            else:
                ids.append(body["id"])
            return 204, None
        return 200, {"count": len(ids), "results": [{"id": number} for number in ids], "next": None}
