# Sourced by tools/lab: ending a lab, whole or half-made. Only processes that are its own are
# signalled, by pid: those in its namespaces, below its daemons, or marked with its directory.

lab_processes() {
    local node pid
    {
        ip netns pids "$(namespace switch)" 2>/dev/null
        for node in $(nodes); do
            ip netns pids "$(namespace "$node")" 2>/dev/null
            pid=$(alive "$lab/nodes/$node/pid") && descendants "$pid"
        done
        marked "PPN_LAB_DIR=$lab"
        machines_below "$lab/nodes/"
    } | sort -un | grep -vx "$$"
}

daemons_run() {
    local node
    for node in $(nodes); do
        ! alive "$lab/nodes/$node/pid" >/dev/null || return 0
    done
    return 1
}

lab_down() {
    local tenths pids node
    trap '' INT TERM
    if [ ! -e "$lab" ] && ! ip netns list 2>/dev/null | grep -q "^ppn-$name-switch\b"; then
        die "no lab named '$name'"
    fi
    # A paused process acts on SIGTERM only when it runs again.
    for node in $(nodes); do
        [ ! -e "$lab/nodes/$node/paused" ] || node_resume "$node"
    done
    # The daemons end in their own order; their VMs go on, as after any daemon's end, and are killed.
    signal_all TERM
    for ((tenths = 30; tenths > 0; tenths--)); do
        daemons_run || break
        sleep 0.1
    done
    for ((tenths = 30; tenths > 0; tenths--)); do
        mapfile -t pids < <(lab_processes)
        [ ${#pids[@]} -gt 0 ] || break
        kill -KILL "${pids[@]}" 2>/dev/null
        sleep 0.1
    done
    [ ${#pids[@]} = 0 ] || say "still running: ${pids[*]}"
    remove_cgroups
    network_remove
    rm -rf --one-file-system "$lab"
    if [ -e "$labs/.made-wireguard" ] && [ -z "$(list_labs)" ]; then
        rmdir /run/wireguard 2>/dev/null
        rm -f "$labs/.made-wireguard"
    fi
    rmdir "$labs" 2>/dev/null
    trap - INT TERM
    return 0
}

# The daemons alone get SIGTERM: they end their own children in their own order.
signal_all() {
    local node pid
    for node in $(nodes); do
        pid=$(alive "$lab/nodes/$node/pid") && kill "-$1" "$pid" 2>/dev/null
    done
}

# VMs' cgroups are outside every namespace. They carry the VM's id, by which the node has a directory.
remove_cgroups() {
    local path id
    find /sys/fs/cgroup -type d -name 'ppn-vm-*' 2>/dev/null | while read -r path; do
        id=${path##*/ppn-vm-}
        [ -z "$(find "$lab/nodes" -name "*$id*" -print -quit)" ] || rmdir "$path" 2>/dev/null
    done
}

# After a failed `up` the logs are what people need.
keep_logs() {
    local node kept
    [ -d "$lab/nodes" ] || return 0
    kept=$(mktemp -d "${TMPDIR:-/tmp}/ppn-lab-$name-logs.XXXXXX") || return 0
    for node in $(nodes); do
        [ ! -s "$lab/nodes/$node/log" ] || cp "$lab/nodes/$node/log" "$kept/$node.log"
    done
    rmdir "$kept" 2>/dev/null || say "logs kept in $kept"
}
