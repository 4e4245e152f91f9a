#!/bin/sh
# First process of the machine, run by busybox: mounts the root, and goes on there.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for file in /*.ko; do
    /bin/busybox insmod "$file" 2>/dev/null
done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 host /root/host
read -r line </proc/cmdline
init=/machine_init.sh
for word in $line; do
    case $word in node_init=*) init=${word#node_init=} ;; esac
done
/bin/busybox umount /proc
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root "$init"
