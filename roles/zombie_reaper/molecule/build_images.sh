#!/usr/bin/env bash
# build_images.sh SUITE...: one image for each Debian suite, with systemd, unless it is there already.
# Prints the images' common name and tag prefix; an image is called that, a dash and its suite.
# Debian's packages are all it needs: no registry. Another mirror: MIRROR=http://…
set -euo pipefail

image=localhost/provider-fleet-node
tag=$(sha256sum "$0" | cut -c1-12)

# bookworm gets cron as packages in a repository of its own, for the role to install without a network.
# shellcheck disable=SC2016 # expanded in the image
export OFFER_CRON='
    mkdir /opt/debs
    cd /opt/debs
    apt-get -qq -o APT::Sandbox::User=root download cron cron-daemon-common sensible-utils
    for deb in *.deb; do
        dpkg-deb --field "$deb"
        echo "Filename: ./$deb"
        echo "Size: $(stat -c %s "$deb")"
        echo "SHA256: $(sha256sum "$deb" | cut -d " " -f 1)"
        echo
    done >Packages
    rm -f /etc/apt/sources.list.d/*
    echo "deb [trusted=yes] file:/opt/debs ./" >/etc/apt/sources.list'

build() {
    # runc and busybox: for containers inside the node
    local suite=$1 packages=systemd,systemd-sysv,dbus,python3,procps,runc,busybox-static id
    local options=(--quiet --variant=apt)
    if [ "$suite" = bookworm ]; then
        packages+=,python3-apt
        # shellcheck disable=SC2016 # mmdebstrap's shell knows both
        options+=(--customize-hook='chroot "$1" sh -euc "$OFFER_CRON"')
    else
        packages+=,cron
    fi
    # No path-exclude: it sends every package through a slow filter.
    id=$(mmdebstrap "${options[@]}" --include="$packages" "$suite" - ${MIRROR:+"$MIRROR"} | podman import --quiet -)
    podman tag "$id" "$image:$tag-$suite" # only now, so that half an image is never taken for a whole one
}

building=()
for suite; do
    if ! podman image exists "$image:$tag-$suite"; then
        build "$suite" >&2 &
        building+=($!)
    fi
done
for job in "${building[@]}"; do
    wait "$job"
done
if [ ${#building[@]} -gt 0 ]; then
    # those of earlier versions of this file, unless a container still uses them
    podman images --format "{{.Repository}}:{{.Tag}}" | grep "^$image:" | grep -v ":$tag-" |
        xargs -r podman rmi >/dev/null 2>&1 || true
fi
echo "$image:$tag"
