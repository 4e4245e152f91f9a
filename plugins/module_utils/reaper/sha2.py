# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SHA-224 and SHA-256 without OpenSSL, of which hashlib loads 5 MB. The daemon locks its memory.

Python has them in a module of its own, which ``random`` uses in the same way: ``_sha2`` since 3.12,
``_sha256`` before. Some distributions leave it out; then it is hashlib.
"""

from __future__ import annotations

__all__ = ("sha224", "sha256")

try:
    from _sha2 import sha224, sha256  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    try:
        from _sha256 import sha224, sha256  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from hashlib import sha224, sha256
