#!/usr/bin/env bash
# image.sh SUITE ARCHITECTURE DIRECTORY: kernel, initrd and root of a virtual machine with Debian's packages.
# ARCHITECTURE is amd64 or arm64. DIRECTORY gets vmlinuz, initrd and root.ext4. Another mirror: MIRROR=http://…
set -euo pipefail

suite=$1 architecture=$2 directory=$3
here=$(dirname "$(readlink -f "$0")")
userland=busybox-static,bash,dash,coreutils,findutils,grep,sed,util-linux,mount,procps,kmod,python3,perl-base,strace,gcc,libc6-dev,iproute2
case $architecture in
    # whole machines, as nodes are
    amd64) variant=apt userland=$userland,systemd,systemd-sysv,udev,dbus,cron,openssh-server ;;
    # maintainer scripts cannot run here: the tree is only unpacked
    arm64) variant=extract userland=$userland,base-files,base-passwd,libc-bin ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
export architecture

# shellcheck disable=SC2016 # mmdebstrap's shell knows $1
mmdebstrap --quiet --mode=root --variant=$variant --architectures="$architecture" --include=$userland \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='mkdir "$1/kernel" && cd "$1/kernel" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq download $(APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-cache depends --important linux-image-$architecture | sed -n "s/^ *Depends: \(linux-image-.*\)/\1/p" | head -1)' \
    "$suite" "$root" ${MIRROR:+"$MIRROR"}

mkdir "$work/kernel"
dpkg-deb --fsys-tarfile "$root"/kernel/*.deb | tar -x -C "$work/kernel"
rm -r "$root/kernel"
mkdir -p "$directory"
cp "$work"/kernel/boot/vmlinu?-* "$directory/vmlinuz"
[ -d "$work/kernel/usr/lib/modules" ] && modules=$work/kernel/usr/lib/modules || modules=$work/kernel/lib/modules
release=$(basename "$modules"/*)
echo "$release" >"$directory/release"

# The initrd loads what is needed to mount the root and the shared folder, and nothing else
initrd=$work/initrd
mkdir -p "$initrd"/{bin,proc,sys,dev,root}
cp "$root/bin/busybox" "$initrd/bin/busybox"
depmod -b "${modules%/lib/modules}" "$release" 2>/dev/null
number=100
for name in virtio_pci virtio_mmio virtio_blk ext4 9pnet_virtio 9p overlay virtio_net virtio_rng; do
    # some are built in, and have no file
    { modprobe -d "${modules%/lib/modules}" -S "$release" --show-depends "$name" 2>/dev/null || true; } | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r file; do
    number=$((number + 1))
    case $file in
        *.xz) xz -dc "$file" >"$initrd/$number.ko" ;;
        *.zst) zstd -qdc "$file" >"$initrd/$number.ko" ;;
        *) cp "$file" "$initrd/$number.ko" ;;
    esac
done
cp "$here/initrd_init.sh" "$initrd/init"
(cd "$initrd" && find . -print0 | cpio --quiet -0 -o -H newc | gzip -1) >"$directory/initrd"

if [ ! -e "$root/etc/passwd" ]; then
    cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
    cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
fi
[ -e "$root/usr/bin/python3" ] || ln -s "$(basename "$root"/usr/bin/python3.*[0-9])" "$root/usr/bin/python3"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
mkdir -p "$root/host" "$root/checkout"
cp "$here/machine_init.sh" "$root/machine_init.sh"
if [ -d "$root/etc/systemd/system" ]; then
    cp "$here/jobs.service" "$root/etc/systemd/system/jobs.service"
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
    ln -s ../jobs.service "$root/etc/systemd/system/multi-user.target.wants/jobs.service"
fi
rm -f "$directory/root.ext4"
mke2fs -q -t ext4 -O ^has_journal -d "$root" "$directory/root.ext4" 1500M
