"""fetch_pip.py DIRECTORY: puts pip there and prints its path, for a Python that cannot make a venv
with pip in it, as Debian's without the package python3-venv.

It comes from the package index that pip's own configuration names. Its hash is known, so it does
not matter who sends it.
"""

from __future__ import annotations

import configparser
import hashlib
import http.client
import os
import re
import ssl
import sys
import urllib.parse
import urllib.request
from pathlib import Path

WHEEL = "pip-26.3-py3-none-any.whl"
SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
# The later ones win, as in pip.
CONFIGURATIONS = (
    "/etc/xdg/pip/pip.conf",
    "/etc/pip.conf",
    "~/.pip/pip.conf",
    "~/.config/pip/pip.conf",
)


def configured(name: str, default: str) -> str:
    """What pip would take for an option."""
    files = configparser.ConfigParser(interpolation=None)
    paths = [*CONFIGURATIONS, os.environ.get("PIP_CONFIG_FILE", os.devnull)]
    files.read([os.path.expanduser(path) for path in paths])
    value = files.get("install", name, fallback=files.get("global", name, fallback=default))
    return os.environ.get("PIP_" + name.replace("-", "_").upper(), value)


def fetch(index: str) -> bytes:
    """The wheel, from an index as PEP 503 describes it."""
    context = ssl.create_default_context()
    certificates = configured("cert", "")
    if certificates:
        context.load_verify_locations(certificates)

    def get(url: str) -> bytes:
        with urllib.request.urlopen(url, timeout=60, context=context) as answer:
            return bytes(answer.read(50_000_000))

    page = index.rstrip("/") + "/pip/"
    listed = re.search(rf'href="([^"#]*/)?{re.escape(WHEEL)}', get(page).decode(errors="replace"))
    if not listed:
        raise ValueError(f"{page} does not list {WHEEL}")
    wheel = get(urllib.parse.urljoin(page, (listed[1] or "") + WHEEL))
    if hashlib.sha256(wheel).hexdigest() != SHA256:
        raise ValueError(f"{WHEEL} from {page} is not the file that was published: wrong SHA-256")
    return wheel


def main(directory: str) -> None:
    index = configured("index-url", "https://pypi.org/simple")
    try:
        wheel = fetch(index)
    except (OSError, ValueError, http.client.HTTPException, configparser.Error) as error:
        # an address may hold a password
        sys.exit(f"cannot fetch pip: {re.sub(r'//[^/@ ]*@', '//', str(error))}")
    path = Path(directory, WHEEL)
    path.write_bytes(wheel)
    print(path)


if __name__ == "__main__":
    main(sys.argv[1])
