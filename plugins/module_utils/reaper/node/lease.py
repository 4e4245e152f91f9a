# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lease that a container on Akash says it belongs to, and whether that is true."""

from __future__ import annotations

import re

# What Akash sets in each container of a lease, unless the tenant's manifest has set it already:
# variable, key here, what its value looks like (an address is bech32, BIP 173).
ADDRESS, NUMBER = r"[a-z]{1,20}1[02-9ac-hj-np-z]{38,58}", r"[0-9]{1,20}"
LEASE = (
    (b"AKASH_OWNER", "owner", ADDRESS),
    (b"AKASH_DEPLOYMENT_SEQUENCE", "dseq", NUMBER),
    (b"AKASH_GROUP_SEQUENCE", "gseq", NUMBER),
    (b"AKASH_ORDER_SEQUENCE", "oseq", NUMBER),
    (b"AKASH_PROVIDER", "provider", ADDRESS),
)

# base64.b32hexencode() is of Python 3.10
BASE32HEX = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789abcdefghijklmnopqrstuv")


def lease(environment: dict, namespace: str | None) -> dict | None:
    """The lease that these variables (bytes to bytes) tell; None where there is none. A value of
    the wrong shape is None.

    ``verified``, bool: whether it is the lease of this Kubernetes namespace. The variables are the
    tenant's to choose, the namespace is the provider's.
    """
    found = {}
    for variable, key, shape in LEASE:
        value = environment.get(variable, b"").decode("latin-1")
        found[key] = value if re.fullmatch(shape, value) else None
    if not any(found.values()):
        return None
    return {**found, "verified": all(found.values()) and namespace_of(found) == namespace}


def namespace_of(whole: dict) -> str:
    """The Kubernetes namespace of a lease: a hash of what identifies it (akash-network/provider,
    LeaseIDToNamespace()).
    """
    import base64  # only on Akash
    import hashlib

    identity = "/".join(whole[key] for _variable, key, _shape in LEASE)
    digest = (
        base64.b32encode(hashlib.sha224(identity.encode("ascii")).digest())
        .decode("ascii")
        .rstrip("=")
    )
    return digest.translate(BASE32HEX)
