#!/usr/bin/env bash
# Runs in a node, privileged, in its own mount namespace. Starts two real containers with the
# cgroups and log directories of pods.
set -eu
# runc needs writable cgroups, and with cgroup v1 systemd's hierarchy has to begin at the node, not
# at the machine
for mount in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    mount -o remount,bind,rw "$mount" 2>/dev/null || true
done
own=$(sed -n 's/.*name=systemd:\(.*\)/\1/p' /proc/1/cgroup)
own=${own%/init.scope}
[ ! -d "/sys/fs/cgroup/systemd$own" ] || mount --bind "/sys/fs/cgroup/systemd$own" /sys/fs/cgroup/systemd

start() { # NAME DIGIT SCRIPT; the IDs of pod and container consist of that digit
    bundle=/run/leak/$1
    mkdir -p "$bundle/rootfs/bin"
    cp /bin/busybox "$bundle/rootfs/bin/"
    ln -s busybox "$bundle/rootfs/bin/sh"
    cd "$bundle"
    runc spec
    python3 - "$@" <<'PYTHON'
import json, os, sys

name, digit, script = sys.argv[1:]
with open("config.json") as file:
    config = json.load(file)
config["process"].update(terminal=False, args=["/bin/sh", "-c", script])
config["process"].pop("rlimits", None)
config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "cgroup"]
uid = "-".join(digit * length for length in (8, 4, 4, 4, 12))
os.makedirs("/var/log/pods/tenant_%s_%s" % (name, uid))
config["linux"]["cgroupsPath"] = "/kubepods/besteffort/pod%s/%s" % (uid, digit * 64)
config["linux"].pop("resources", None)
# Stricter than the filters of Docker and Kubernetes: it kills a program that makes the very system
# call that reap injects
config["linux"]["seccomp"] = {
    "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["waitid"], "action": "SCMP_ACT_KILL"}]}
with open("config.json", "w") as file:
    json.dump(config, file)
PYTHON
    runc run --detach --no-new-keyring "$1" </dev/null >"$bundle/log" 2>&1 || { cat "$bundle/log" >&2; exit 1; }
}

# The child must not exit before the exec, or the shell might still wait for it
start leaky-init a 'busybox sleep 0.5 & exec busybox sleep 3600'
# Here PID 1 waits for its children, but a program below it does not
start leaky-child b 'sh -c "busybox sleep 0.5 & exec busybox sleep 3600" & while :; do busybox sleep 1; done'
