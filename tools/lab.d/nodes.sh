# Sourced by tools/lab: one node's daemon and the commands run beside it.

# inside NODE CMD...: replaces this shell by CMD in the node's network namespace. wireguard-go and wg
# meet at /run/wireguard/INTERFACE.sock, which network namespaces do not tell apart: each node has a
# directory of its own mounted there, in a mount namespace that ends with the command.
inside() {
    local node=$1
    shift
    exec nsenter --net="/run/netns/$(namespace "$node")" unshare --mount sh -c \
        'mount --bind "$1" /run/wireguard && shift && exec "$@"' lab \
        "$lab/nodes/$node/wireguard" \
        env PPN_LAB=1 PPN_LAB_NAME="$name" PPN_LAB_NODE="$node" PPN_LAB_DIR="$lab" \
        PPN_SOCKET="$lab/nodes/$node/state/ppn.sock" PATH="$lab/bin:$PATH" "$@"
}

node_exec() {
    [ $# -ge 2 ] || usage
    local node=$1
    need_node "$node"
    shift
    [ "$1" != -- ] || shift
    [ $# -ge 1 ] || usage
    inside "$node" "$@"
}

# ppn_of NODE ARGUMENTS...: the command line tool on that node; its socket is a path, so no need to
# enter the namespace.
ppn_of() {
    local node=$1
    shift
    timeout 10 "$lab/bin/ppn" --socket "$lab/nodes/$node/state/ppn.sock" "$@"
}

# node_launch NODE [MORE ARGUMENTS]: the daemon in the background, its pid remembered.
node_launch() {
    local node=$1 directory=$lab/nodes/$1 interface=ppn0 mesh environment=() advertise=()
    shift
    ! alive "$directory/pid" >/dev/null || die "$node runs already"
    mesh=$(cat "$lab/mesh")
    [ "$mesh" != plain ] || interface=eth0
    [ ! -s "$directory/environment" ] || mapfile -t environment <"$directory/environment"
    # Behind a router a node has no address to advertise.
    if [ ! -s "$directory/router" ]; then
        advertise=(--advertise "$(cat "$directory/address")")
        [ ! -s "$directory/address6" ] || cmp -s "$directory/address" "$directory/address6" ||
            advertise+=(--advertise "$(cat "$directory/address6")")
    fi
    (
        trap - INT EXIT
        inside "$node" setsid env ${environment[@]+"${environment[@]}"} "$lab/bin/ppn-node" \
            --name "$node" --state-dir "$directory/state" --socket "$directory/state/ppn.sock" \
            --interface "$interface" --mesh "$mesh" \
            ${advertise[@]+"${advertise[@]}"} "$@"
    ) </dev/null >>"$directory/log" 2>&1 &
    remember $! "$directory/pid"
    disown $! 2>/dev/null || : # it may have left the table of jobs already
}

node_ended() { # NODE: why it is not running, for people
    say "$1's daemon has ended; the last lines of $lab/nodes/$1/log:"
    tail -n 8 "$lab/nodes/$1/log" >&2
}

# node_ready NODE: until the daemon answers on its socket, at most 15 s (and the lab's time is up).
node_ready() {
    local tenths=150
    until ppn_of "$1" status >/dev/null 2>&1; do
        alive "$lab/nodes/$1/pid" >/dev/null || { node_ended "$1"; return 1; }
        [ $((tenths--)) -gt 0 ] || { say "$1 does not answer on its socket"; return 1; }
        sleep 0.1
    done
}

node_start() { # NODE [MORE ARGUMENTS]
    node_launch "$@"
    node_ready "$1"
}

node_kill() {
    local pid
    pid=$(alive "$lab/nodes/$1/pid") || die "$1's daemon does not run"
    kill -KILL "$pid"
    wait_gone "$lab/nodes/$1/pid" 50 || die "$1's daemon (pid $pid) is still there 5 s after SIGKILL"
}

node_stop() {
    local pid
    pid=$(alive "$lab/nodes/$1/pid") || die "$1's daemon does not run"
    kill -TERM "$pid"
    wait_gone "$lab/nodes/$1/pid" 150 || die "$1's daemon (pid $pid) ignores SIGTERM for 15 s"
}

# Every process that is the node's: in its network namespace, below its daemon, or carrying its mark
# in the environment.
node_processes() {
    local node=$1 pid
    {
        ip netns pids "$(namespace "$node")" 2>/dev/null
        pid=$(alive "$lab/nodes/$node/pid") && descendants "$pid"
        marked "PPN_LAB_NODE=$node"
        machines_below "$lab/nodes/$node/"
    } | sort -un | grep -vx "$$"
}

# Processes of this lab whose environment also has VARIABLE=VALUE.
marked() {
    local path
    grep -lzsxF "PPN_LAB_DIR=$lab" /proc/[0-9]*/environ 2>/dev/null | while read -r path; do
        path=${path%/environ}
        ! grep -qzsxF "$1" "$path/environ" 2>/dev/null || echo "${path#/proc/}"
    done
}

# VMs outlive their daemon, with an environment of their own: they are known by their disk's path.
machines_below() { # DIRECTORY/
    local path
    grep -lzsF "$1" /proc/[0-9]*/cmdline 2>/dev/null | while read -r path; do
        path=${path%/cmdline}
        [[ $(cat "$path/comm" 2>/dev/null) != qemu-* ]] || echo "${path#/proc/}"
    done
}

descendants() {
    local child
    echo "$1"
    for child in $(cat "/proc/$1"/task/*/children 2>/dev/null); do
        descendants "$child"
    done
}

node_pause() {
    local pids
    mapfile -t pids < <(node_processes "$1")
    [ ${#pids[@]} -gt 0 ] || die "$1 has no process"
    kill -STOP "${pids[@]}"
    touch "$lab/nodes/$1/paused"
}

node_resume() {
    local pids
    mapfile -t pids < <(node_processes "$1")
    rm -f "$lab/nodes/$1/paused"
    [ ${#pids[@]} -eq 0 ] || kill -CONT "${pids[@]}"
}

node_logs() {
    local node=$1
    shift
    case "${1-}" in
    "") cat "$lab/nodes/$node/log" ;;
    -f) exec tail -n +1 -f "$lab/nodes/$node/log" ;;
    *) usage ;;
    esac
}

lab_status() {
    local node pid daemon address
    printf '%-6s %-18s %-14s %s\n' NODE ADDRESS DAEMON LOG
    for node in $(nodes); do
        if pid=$(alive "$lab/nodes/$node/pid"); then
            daemon=$pid
            [ ! -e "$lab/nodes/$node/paused" ] || daemon="$pid paused"
        else
            daemon=-
        fi
        address=$(cat "$lab/nodes/$node/address")
        [ ! -s "$lab/nodes/$node/router" ] || address+=" $(cat "$lab/nodes/$node/router")"
        printf '%-6s %-18s %-14s %s\n' "$node" "$address" "$daemon" \
            "$lab/nodes/$node/log"
    done
    [ ! -s "$lab/faults" ] || { echo "faults:"; sed 's/^/  /' "$lab/faults"; }
}
