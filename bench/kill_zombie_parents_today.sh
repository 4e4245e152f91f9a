#!/usr/bin/env bash
# Does what the script does that the playbooks for Akash providers install today (akash-network/provider-playbooks,
# roles/os), written anew: only the first zombie of /proc, only below a containerd-shim, SIGCHLD, SIGTERM and SIGKILL,
# 15 s apart. There cron runs it every 5 minutes, and its output goes to logger.
# Kept to measure against, and to show in tests what is wrong with it.

field() { # NUMBER PID: of /proc/PID/stat, split on blanks
    cut -d' ' -f"$1" "/proc/$2/stat" 2>/dev/null
}

zombie=
for directory in /proc/[0-9]*; do
    pid=${directory#/proc/}
    if [ "$(field 3 "$pid")" = Z ]; then
        zombie=$pid
        break
    fi
done
[ -n "$zombie" ] || exit 0
parent=$(field 4 "$zombie")

top=$parent names=
above=$parent
while [ "$above" != 1 ] && [ -r "/proc/$above/stat" ]; do
    top=$above
    names="$names $(field 2 "$above")"
    above=$(field 4 "$above")
done
case $names in
    *containerd-shim*) ;;
    *) echo "zombie $zombie: its parent $parent is not below a containerd-shim"; exit 0 ;;
esac
[ "$top" != "$parent" ] || exit 0

for step in CHLD:15 TERM:15 KILL:5; do
    echo "zombie $zombie: SIG${step%:*} to its parent $parent"
    kill -s "${step%:*}" "$parent"
    sleep "${step#*:}"
    [ "$(field 3 "$zombie")" = Z ] || exit 0
done
