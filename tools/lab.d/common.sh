# Sourced by tools/lab: messages, names, and processes told apart by pid and start time.

say() { printf 'lab %s: %s\n' "$name" "$*" >&2; }
die() {
    printf 'tools/lab: %s\n' "$*" >&2
    exit 1
}

need_lab() {
    [ -e "$lab/nodes" ] || die "no lab named '$name'; tools/lab list shows those that exist"
}

need_node() {
    [[ $1 =~ ^n[0-9]+$ ]] && [ -d "$lab/nodes/$1" ] ||
        die "lab '$name' has no node '$1'; it has: $(nodes | tr '\n' ' ')"
}

# The lab's nodes in their order, one a line.
nodes() { ls "$lab/nodes" 2>/dev/null | sort -V; }

namespace() { echo "ppn-$name-$1"; }

list_labs() { ls "$labs" 2>/dev/null || true; }

# PID's state letter and when it was started, in clock ticks since boot; nothing when there is no
# such process. One read for both: between two reads a zombie may go, and then look alive.
state_and_start() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f1,20; }

# remember PID FILE: so that alive and the signals below never hit another process with that pid.
remember() {
    local state started
    read -r state started < <(state_and_start "$1") || true
    echo "$1 $started" >"$2"
}

# The pid in FILE if that very process still runs (a zombie does not), else nothing.
alive() {
    local pid remembered state started
    read -r pid remembered 2>/dev/null <"$1" || return 1
    read -r state started < <(state_and_start "$pid") || return 1
    [ -n "$remembered" ] && [ "$started" = "$remembered" ] || return 1
    [[ $state != [ZX] ]] && echo "$pid"
}

# wait_gone FILE TENTHS: until the process in FILE has ended; 1 when it has not by then.
wait_gone() {
    local tenths=$2
    while alive "$1" >/dev/null; do
        [ $((tenths--)) -gt 0 ] || return 1
        sleep 0.1
    done
}

seconds() { cut -d. -f1 /proc/uptime; }
