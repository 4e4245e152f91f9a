#!/usr/bin/env bash
# unpack.sh SUITE ARCHITECTURE VARIANT PACKAGES ROOT [OPTION...]: packages of Debian with what they depend on, below ROOT.
# VARIANT is mmdebstrap's: apt installs them, extract only unpacks them. OPTIONs are mmdebstrap's too. Another mirror: MIRROR=http://…
set -euo pipefail

suite=$1 architecture=$2 variant=$3 packages=$4 root=$5
shift 5
# bullseye's installer makes such trees too, but it has no package usr-is-merged.
# shellcheck disable=SC2016 # mmdebstrap's shell knows $1
case $suite in
    bullseye) merged='--setup-hook=for name in bin sbin lib lib64; do mkdir -p "$1/usr/$name"; ln -s "usr/$name" "$1/$name"; done' ;;
    *) merged=--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr ;;
esac
# A mirror that is not updated has a Release file of sid that is out of date after a week; its signature is checked all the same.
mmdebstrap --quiet --mode=root --variant="$variant" --architectures="$architecture" --include="$packages" "$merged" \
    --aptopt='Acquire::Check-Valid-Until "false"' "$@" \
    "$suite" "$root" ${MIRROR:+"$MIRROR"}
