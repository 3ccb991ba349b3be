# Sourced by tools/bench: what forwarding costs the relay, against a plain UDP forwarder that batches as
# the relay does, and against WireGuard hub-and-spoke through the same machine. Three namespaces: two
# laptops and the relay between them; a sends to b at a fixed rate; what counts is how many packets
# arrive for each second of CPU that the program in the middle used.

relay_space() { echo "ppn-$PPN_LAB_NAME-$1"; }
in_relay_space() { local space=$1; shift; exec nsenter --net="/run/netns/$(relay_space "$space")" unshare --mount \
    sh -c 'mount -t tmpfs tmpfs /run/wireguard; exec "$@"' bench "$@"; }

relay_spaces_make() {
    local side
    mkdir -p /run/wireguard
    for side in a r b; do
        ip netns add "$(relay_space $side)" && ip -n "$(relay_space $side)" link set lo up || return 1
    done
    ip -n "$(relay_space r)" link add lan-a type veth peer name eth0 netns "$(relay_space a)" &&
        ip -n "$(relay_space r)" link add lan-b type veth peer name eth0 netns "$(relay_space b)" || return 1
    for side in a:1 b:2; do
        ip -n "$(relay_space r)" addr add "10.98.${side#*:}.1/24" dev "lan-${side%:*}" &&
            ip -n "$(relay_space r)" link set "lan-${side%:*}" up &&
            ip -n "$(relay_space "${side%:*}")" addr add "10.98.${side#*:}.2/24" dev eth0 &&
            ip -n "$(relay_space "${side%:*}")" link set eth0 up || return 1
    done
}

relay_spaces_remove() {
    local side pid
    for side in a r b; do
        for pid in $(ip netns pids "$(relay_space $side)" 2>/dev/null); do kill -9 "$pid" 2>/dev/null; done
        ip netns del "$(relay_space $side)" 2>/dev/null
    done
}

# Nanoseconds on a CPU of a process, its ended threads included (in steps of a clock tick).
relay_cpu() { sed 's/.*) //' "/proc/$1/stat" | awk -v t="$(getconf CLK_TCK)" '{printf "%.0f\n", ($12 + $13) * 1e9 / t}'; }

# relay_measure LABEL PID A-ARGUMENTS -- B-ARGUMENTS: appends "LABEL packets-per-CPU-second arrived lost%"
relay_measure() {
    local label=$1 pid=$2 a=() b=() before after sent arrived
    shift 2
    while [ "$1" != -- ]; do a+=("$1"); shift; done
    shift
    b=("$@")
    (in_relay_space b "$bin/relay_peer" "${b[@]}" --seconds $((seconds + 2)) --pps 0) >"$work/b" 2>/dev/null &
    local receiver=$!
    sleep 1
    before=$(relay_cpu "$pid")
    (in_relay_space a "$bin/relay_peer" "${a[@]}" --seconds "$seconds" --pps "$pps") >"$work/a" 2>/dev/null
    after=$(relay_cpu "$pid")
    wait $receiver
    sent=$(jq -r '.sent // 0' "$work/a") arrived=$(jq -r '.received // 0' "$work/b")
    awk -v l="$label" -v s="$sent" -v r="$arrived" -v c=$((after - before)) \
        'BEGIN {printf "%s %d %d %.2f %.3f\n", l, (c > 0 ? r * 1e9 / c : 0), r, (s > 0 ? 100 * (s - r) / s : 100), c / 1e9}' >>"$work/rows"
}

relay_run() { # SEGMENTS LABEL: relay and forwarder, one after the other
    local pid
    rm -f "$work/host"
    exec {input}> >(in_relay_space r "$bin/relay_peer" host "$bin/ppn-relay" 51821 51822 16 0 4 >"$work/host" 2>&1)
    for _ in $(seq 100); do grep -qs ready "$work/host" && break; sleep 0.1; done
    grep -q ready "$work/host" || { echo "bench: the relay does not start: $(cat "$work/host")" >&2; exit 1; }
    pid=$(awk '/ready/ {print $2}' "$work/host")
    relay_measure "relay$2" "$pid" client 10.98.1.1 51821 1 2 --segments "$1" -- client 10.98.2.1 51821 2 1
    exec {input}>&-
    (in_relay_space r "$bin/relay_peer" forward 7001 7002) & pid=$!
    sleep 0.3
    relay_measure "forwarder$2" $pid client 10.98.1.1 7001 1 2 --plain --segments "$1" -- client 10.98.2.1 7002 2 1 --plain
    kill $pid
    wait $pid 2>/dev/null
}

relay_hub() { # SEGMENTS LABEL
    relay_measure "hub$2" "$hub" client 10.97.0.2 7000 1 2 --plain --size 1392 --segments "$1" -- client 10.97.0.1 7009 2 1 --plain --port 7000
}

relay_hub_up() {
    local side
    umask 077
    for side in r a b; do
        wg genkey >"$work/$side.key" && wg pubkey <"$work/$side.key" >"$work/$side.pub" || return 1
    done
    for side in r a b; do
        (in_relay_space $side sh -c '
            work=$1
            wireguard-go -f hub >/dev/null 2>&1 & wg=$!
            until [ -S /run/wireguard/hub.sock ]; do kill -0 $wg || exit 1; sleep 0.1; done
            case $2 in
            r) wg set hub listen-port 51820 private-key $work/r.key peer "$(cat $work/a.pub)" allowed-ips 10.97.0.1/32 \
                   peer "$(cat $work/b.pub)" allowed-ips 10.97.0.2/32; address=10.97.0.254 ;;
            a) wg set hub private-key $work/a.key peer "$(cat $work/r.pub)" endpoint 10.98.1.1:51820 allowed-ips 10.97.0.0/24
                address=10.97.0.1 ;;
            b) wg set hub private-key $work/b.key peer "$(cat $work/r.pub)" endpoint 10.98.2.1:51820 allowed-ips 10.97.0.0/24
                address=10.97.0.2 ;;
            esac
            ip addr add $address/24 dev hub; ip link set hub mtu 1420 up
            echo $wg >$work/$2.pid; wait $wg' hub "$work" $side) 2>/dev/null &
        disown $!
    done
    for side in r a b; do
        for _ in $(seq 100); do [ -s "$work/$side.pid" ] && break; sleep 0.1; done
    done
    hub=$(cat "$work/r.pid") || return 1
    ip netns exec "$(relay_space r)" sysctl -qw net.ipv4.ip_forward=1
    for side in b a; do
        ip netns exec "$(relay_space $side)" ping -c 2 -W 2 10.97.0.254 >/dev/null || return 1
    done
}

relay_median() { awk -v l="$1" '$1 == l {print $2}' "$work/rows" | median; }

bench_relay() {
    local seconds=4 runs=3 pps=30000 i label input hub pid ratios ok=0
    while [ $# -ge 2 ]; do
        case $1 in --seconds) seconds=$2 ;; --runs) runs=$2 ;; --pps) pps=$2 ;; *) return 2 ;; esac
        shift 2
    done
    [ -x "$bin/relay_peer" ] || { echo "bench: no relay_peer in $bin; build it with tests: cmake --preset release && cmake --build --preset release" >&2; exit 1; }
    trap 'relay_spaces_remove; rm -rf "$work"' EXIT
    relay_spaces_make || { echo "bench: cannot make namespaces" >&2; exit 1; }
    relay_hub_up || { echo "bench: no WireGuard here" >&2; exit 1; }
    for i in $(seq "$runs"); do
        relay_run 1 ""
        relay_hub 1 ""
        relay_run 16 -gso
        relay_hub 16 -gso
    done
    printf '%-16s %14s %10s %8s %8s   (%s packets/s offered for %s s, %s runs)\n' WHAT "packets/CPU-s" arrived "lost %" "CPU s" "$pps" "$seconds" "$runs"
    sort "$work/rows" | while read -r label a b c d; do printf '%-16s %14s %10s %8s %8s\n' "$label" "$a" "$b" "$c" "$d"; done
    for label in "" -gso; do
        awk -v r="$(relay_median "relay$label")" -v f="$(relay_median "forwarder$label")" -v h="$(relay_median "hub$label")" -v l="$label" 'BEGIN {
            printf "relay%s: %d packets per CPU second; %.2f of the forwarder (promised 0.8), %.2f of the hub (promised 1.5)\n", l, r, r / (f + (f == 0)), r / (h + (h == 0))
            printf "{\"schema\":1,\"bench\":\"relay\",\"segments\":%d,\"relay\":%d,\"forwarder\":%d,\"hub\":%d}\n", (l == "" ? 1 : 16), r, f, h
            exit !(r >= 0.8 * f && r >= 1.5 * h)}' || ok=1
    done
    return $ok
}
