#!/usr/bin/env bash
# image.sh SUITE ARCHITECTURE VARIANT DIRECTORY: kernel, initrd and root of a virtual machine with Debian's packages.
# ARCHITECTURE is amd64 or arm64. VARIANT apt is a whole machine with systemd and sshd, as nodes are; its maintainer scripts have to run here.
# extract only unpacks a lean one. DIRECTORY gets vmlinuz, initrd, root.ext4, and files that say what they are: release, python, init.
# PYTHON is an interpreter with pip, which gets the packages of requirements.txt. Another mirror: MIRROR=http://…
set -euo pipefail

suite=$1 architecture=$2 variant=$3 directory=$4
here=$(dirname "$(readlink -f "$0")")
userland=busybox-static,bash,dash,coreutils,findutils,grep,sed,util-linux,mount,procps,kmod,python3,perl-base,strace,gdb,gcc,libc6-dev,iproute2
# how wheels call it
declare -A machines=([amd64]=x86_64 [arm64]=aarch64)
case $variant in
    apt) userland=$userland,systemd,systemd-sysv,udev,dbus,cron,openssh-server ;;
    extract) userland=$userland,base-files,base-passwd,libc-bin ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
export architecture

# The package linux-image-amd64 depends on the one with the kernel, which later releases have split.
# shellcheck disable=SC2016 # mmdebstrap's shell knows all of that
DOWNLOAD_KERNEL='
    export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
    needs() { apt-cache depends --important "$1" | sed -nE "s/^ *Depends: (linux-($2)-[0-9].*)/\1/p"; }
    image=$(needs "linux-image-$architecture" image | head -1)
    mkdir "$1/kernel" && cd "$1/kernel" && apt-get -qq download "$image" $(needs "$image" "binary|modules|base")'

# The extract hook is the last one that is called where nothing is installed.
"$here/../rig/unpack.sh" "$suite" "$architecture" "$variant" "$userland" "$root" --extract-hook="$DOWNLOAD_KERNEL" --skip=check/qemu

mkdir -p "$work/kernel" "$directory"
for deb in "$root"/kernel/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/kernel"
done
rm -r "$root/kernel"
[ -d "$work/kernel/usr/lib/modules" ] && modules=$work/kernel/usr/lib/modules || modules=$work/kernel/lib/modules
for kernel in "$work"/kernel/boot/vmlinu?-* "$modules"/*/vmlinu?; do # one or the other, by release
    [ ! -e "$kernel" ] || cp "$kernel" "$directory/vmlinuz"
done
release=$(basename "$modules"/*)
echo "$release" >"$directory/release"

# The initrd loads what is needed to mount the root and the shared folder, and nothing else
initrd=$work/initrd
mkdir -p "$initrd"/{bin,proc,sys,dev,root}
cp "$root/bin/busybox" "$initrd/bin/busybox"
ln -s busybox "$initrd/bin/sh"
depmod -b "${modules%/lib/modules}" "$release" 2>/dev/null
number=100
for name in virtio_pci virtio_mmio virtio_blk virtio_net ext4 9pnet_virtio 9p overlay virtio_rng; do
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
    # what base-files makes when it is configured
    mkdir -p "$root"/{home,opt,root,srv,usr/local/{bin,lib,sbin},var/{cache,lib,log,spool,tmp}}
    chmod 1777 "$root/var/tmp"
fi
interpreter=$(basename "$root"/usr/bin/python3.*[0-9])
[ -e "$root/usr/bin/python3" ] || ln -s "$interpreter" "$root/usr/bin/python3"
version=${interpreter#python}
echo "$version" >"$directory/python"
packages=usr/local/lib/python$version/dist-packages
"$PYTHON" -m pip install --quiet --disable-pip-version-check --no-compile --only-binary=:all: --requirement "$here/requirements.txt" \
    --python-version "$version" --platform "manylinux2014_${machines[$architecture]}" --target "$root/$packages"
# where it can run here, so that the machine need not do it at each start
[ "$variant" = extract ] || chroot "$root" python3 -m compileall -q "/$packages" >/dev/null || true

rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/usr/share/{doc,man,locale}
mkdir -p "$root/host"
cp "$here/machine_init.sh" "$root/machine_init.sh"
echo /machine_init.sh >"$directory/init"
if [ -e "$root/usr/lib/systemd/systemd" ]; then
    echo /lib/systemd/systemd >"$directory/init"
    cp "$here/jobs.service" "$root/etc/systemd/system/jobs.service"
    mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
    ln -s ../jobs.service "$root/etc/systemd/system/multi-user.target.wants/jobs.service"
fi
rm -f "$directory/root.ext4"
mke2fs -q -t ext4 -O ^has_journal -d "$root" "$directory/root.ext4" 2G
