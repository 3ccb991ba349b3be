# Shared by tests/e2e and tests/chaos: a lab of its own for each test, always taken down again.
# PPN_BIN: built binaries. PPN_IMAGES: where images are built once and kept.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
[ "$(id -u)" = 0 ] || { echo "skipped: needs root for network namespaces"; exit 77; }
LAB=${LAB_PREFIX:-t}-$$
export PPN_LAB_NAME=$LAB

say() { printf -- '-- %s (%ds)\n' "$*" "$SECONDS"; }
fail() {
    echo "FAILED: $*"
    for node in $(seq -f 'n%g' "${nodes:-0}"); do
        echo "---- log of $node"
        "$root/tools/lab" logs "$node" 2>/dev/null | grep -v '^DEBUG\|^ERROR: (ppn' | tail -n 25
    done
    exit 1
}
lab() { "$root/tools/lab" "$@"; }
on() { # NODE COMMAND...
    local node=$1
    shift
    "$root/tools/lab" exec "$node" -- "$@"
}
leave() {
    local status=$?
    trap - EXIT
    "$root/tools/lab" down >/dev/null 2>&1 || status=1
    if ip netns list 2>/dev/null | grep -q "^ppn-$LAB-"; then echo "FAILED: namespaces left"; status=1; fi
    exit "$status"
}
trap leave EXIT
trap 'exit 1' INT TERM

up() { # NODES [OPTION...]
    nodes=$1
    shift
    lab up --nodes "$nodes" --bin "$PPN_BIN" --timeout 90 "$@" || fail "the lab did not come up"
}
# Polls until the command succeeds, at most SECONDS.
within() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}
# Builds an image that is missing, or older than the file NEWER; tests beside this one wait for it.
image_built() { # IMAGE NEWER BUILDER [ARGUMENT...]
    local image=$1 newer=$2 builder=$3 lock
    shift 3
    mkdir -p "$PPN_IMAGES"
    exec {lock}>"$PPN_IMAGES/.lock"
    flock "$lock"
    if [ ! -e "$image" ] || [ "$newer" -nt "$image" ]; then
        say "building $(basename "$image")"
        "$root/tools/$builder" "$image" "$@" {lock}>&- || fail "$builder"
    fi
    exec {lock}>&-
}
tiny_image() { # [NODE]
    image_built "$PPN_IMAGES/tiny.qcow2" "$root/tools/image-tiny" image-tiny
    on "${1:-n1}" ppn image add "$PPN_IMAGES/tiny.qcow2" --name tiny || fail "image add"
}
authority_image() { # sets $image
    image=$PPN_IMAGES/authority.qcow2
    image_built "$image" "$PPN_BIN/ppn-admin" image-authority --admin "$PPN_BIN/ppn-admin"
}
# The command fails and says why.
refuses() { # PATTERN COMMAND...
    local pattern=$1 output
    shift
    output=$("$@" 2>&1) && return 1
    grep -qiE -- "$pattern" <<<"$output"
}
vms() { on "$1" ppn ps --json; } # NODE
# NAME is in STATE, seen from NODE; with a fourth argument, on that node.
vm_is() { # NODE NAME STATE [WHERE]
    vms "$1" | jq -e --arg n "$2" --arg s "$3" --arg w "${4-}" \
        '[.vms[] | select(.name == $n and .state == $s and ($w == "" or .node == $w))] | length == 1'
}
no_vm() { vms "$1" | jq -e --arg n "$2" '[.vms[] | select(.name == $n)] | length == 0'; }
vm_count() { vms "$1" | jq -e --argjson n "$2" '.vms | length == $n'; }
node_is() { # FROM NODE STATE
    on "$1" ppn nodes --json | jq -e --arg n "$2" --arg s "$3" \
        '[.nodes[] | select(.name == $n and .state == $s)] | length == 1'
}
# QEMU processes in a node's namespace: the truth beneath what daemons say.
qemus() { # NODE
    local pid count=0
    for pid in $(ip netns pids "ppn-$LAB-$1" 2>/dev/null); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = qemu-system-x86 ] && count=$((count + 1))
    done
    echo "$count"
}
qemus_all() {
    local node sum=0
    for node in $(seq -f 'n%g' "$nodes"); do sum=$((sum + $(qemus "$node"))); done
    echo "$sum"
}
qemus_are() { [ "$(qemus_all)" = "$1" ]; }
# Directories of VMs on the disks of all nodes: a half-made one counts.
disks_all() {
    find "/run/ppn-lab/$LAB" -path '*/vms/*' -maxdepth 8 -name disk.qcow2 2>/dev/null | wc -l
}
disks_are() { [ "$(disks_all)" = "$1" ]; }
run_tiny=(tiny --memory 192M --allow-emulation)
