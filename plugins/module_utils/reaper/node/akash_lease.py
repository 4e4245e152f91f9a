# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Akash lease that a container claims to belong to, and whether the claim is true."""

from __future__ import annotations

import re
from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    Lease = dict[str, "str | bool | None"]  # the keys of LEASE, and "verified"

# Akash sets these in each container of a lease, unless the tenant's manifest sets them itself:
# variable, key of the result, pattern of the value (an address is bech32, BIP 173).
ADDRESS, NUMBER = r"[a-z]{1,20}1[02-9ac-hj-np-z]{38,58}", r"[0-9]{1,20}"
LEASE = (
    (b"AKASH_OWNER", "owner", ADDRESS),
    (b"AKASH_DEPLOYMENT_SEQUENCE", "dseq", NUMBER),
    (b"AKASH_GROUP_SEQUENCE", "gseq", NUMBER),
    (b"AKASH_ORDER_SEQUENCE", "oseq", NUMBER),
    (b"AKASH_PROVIDER", "provider", ADDRESS),
)

# base64.b32hexencode() came with Python 3.10
BASE32HEX = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789abcdefghijklmnopqrstuv")


def lease(environment: Mapping[bytes, bytes], namespace: str | None) -> Lease | None:
    """The lease in these environment variables, or None. A value that does not match its pattern is
    None.

    ``verified`` is True if this Kubernetes namespace was made for that very lease: the tenant can
    set the variables, but the provider chose the namespace.
    """
    found = {}
    for variable, key, shape in LEASE:
        value = environment.get(variable, b"").decode("latin-1")
        found[key] = value if re.fullmatch(shape, value) else None
    known = {key: value for key, value in found.items() if value is not None}
    if not known:
        return None
    verified = len(known) == len(LEASE) and namespace_of(known) == namespace
    return {**found, "verified": verified}


def namespace_of(whole: Mapping[str, str]) -> str:
    """The Kubernetes namespace of a complete lease: a hash of its values (akash-network/provider,
    LeaseIDToNamespace()).
    """
    import base64  # only on Akash

    from ..sha2 import sha224

    identity = "/".join(whole[key] for _variable, key, _shape in LEASE)
    digest = sha224(identity.encode("ascii")).digest()
    return base64.b32encode(digest).decode("ascii").rstrip("=").translate(BASE32HEX)
