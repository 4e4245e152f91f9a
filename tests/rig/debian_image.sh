#!/usr/bin/env bash
# debian_image.sh: an image of Debian 12 in podman's storage, unless it is there already; prints its name.
# It has Python, and a repository of its own with the packages that docs/fix-your-image.md installs: no network, no registry.
# Debian's packages are all it needs. Another mirror: MIRROR=http://…
set -euo pipefail

image=localhost/provider-fleet-debian
tag=$(sha256sum "$0" | cut -c1-12)

# shellcheck disable=SC2016 # expanded in the image
export OFFER='
    apt-get -qq -o APT::Sandbox::User=root --yes --no-install-recommends --download-only install tini s6 runit supervisor
    mkdir /opt/debs
    mv /var/cache/apt/archives/*.deb /opt/debs
    cd /opt/debs
    for deb in *.deb; do
        dpkg-deb --field "$deb"
        echo "Filename: ./$deb"
        echo "Size: $(stat -c %s "$deb")"
        echo "SHA256: $(sha256sum "$deb" | cut -d " " -f 1)"
        echo
    done >Packages
    rm -rf /etc/apt/sources.list.d/* /var/lib/apt/lists/*
    echo "deb [trusted=yes] file:/opt/debs ./" >/etc/apt/sources.list'

mkdir -p /run/lock
exec 9>/run/lock/provider-fleet-debian-image
flock 9 # several tests may ask for it at once; it is made by the first, and by nobody else

if ! podman image exists "$image:$tag"; then
    # shellcheck disable=SC2016 # mmdebstrap's shell knows both
    id=$(mmdebstrap --quiet --variant=apt --include=python3 --customize-hook='chroot "$1" sh -euc "$OFFER"' bookworm - ${MIRROR:+"$MIRROR"} 9>&- |
        podman import --quiet - 9>&-)
    podman tag "$id" "$image:$tag" # only now, so that half an image is never taken for a whole one
    # those of earlier versions of this file, unless a container still uses them, or the tests of another checkout may
    podman images --filter until=24h --format "{{.Repository}}:{{.Tag}}" | grep "^$image:" | grep -v ":$tag$" |
        xargs -r podman rmi >/dev/null 2>&1 || true
fi
echo "$image:$tag"
