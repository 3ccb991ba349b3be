# Sourced by tools/lab: making a lab, and admitting its nodes to one network.

lab_up() {
    local count="" mesh=auto bin="" daemons=1 admit=1 limit=60 kvm=() variables=()
    local behind=() ips=() mtus=() relays=() udp_timeout=""
    while [ $# -gt 0 ]; do
        case $1 in
        --nodes | --mesh | --bin | --timeout | --kvm | --env | --behind | --ip | --udp-timeout | --mtu | \
            --relay)
            [ $# -ge 2 ] || usage
            case $1 in
            --nodes) count=$2 ;;
            --mesh) mesh=$2 ;;
            --bin) bin=$2 ;;
            --timeout) limit=$2 ;;
            --kvm) kvm+=("$2") ;;
            --behind) behind+=("$2") ;;
            --ip) ips+=("$2") ;;
            --udp-timeout) udp_timeout=$2 ;;
            --mtu) mtus+=("$2") ;;
            --relay) relays+=("$2") ;;
            --env) variables+=("$2") ;;
            esac
            shift 2 ;;
        --no-nodes) daemons=0; shift ;;
        --no-admit) admit=0; shift ;;
        *) usage ;;
        esac
    done
    [[ $count =~ ^[0-9]+$ ]] && [ "$count" -ge 1 ] && [ "$count" -le 200 ] ||
        die "up needs --nodes N, 1 to 200"
    [[ $limit =~ ^[0-9]+$ ]] || die "--timeout is a whole number of seconds"
    case $mesh in auto | kernel | userspace | plain) ;; *) usage ;; esac
    need_tools
    [ ! -e "$lab" ] || die "a lab named '$name' exists; tools/lab down --name $name removes it"
    deadline=$(($(seconds) + limit))
    # Half a lab is none: whatever ends this command early takes down what was made. An exit from a
    # signal handler runs the EXIT trap too.
    trap 'exit 130' INT TERM
    trap 'say "up failed, taking it down"; keep_logs; lab_down' EXIT
    lab_make "$count" "$mesh"
    if [ $daemons = 1 ] || [ -n "$bin" ]; then
        find_binaries "$bin"
        node_environments
    fi
    [ $daemons = 0 ] || start_network "$count" "$admit"
    trap - EXIT INT TERM
    say "up: $count nodes; try: tools/lab exec n1 --name $name -- ppn nodes"
}

need_tools() {
    local tool missing=()
    for tool in ip nft nsenter unshare jq timeout; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} = 0 ] ||
        die "needs ${missing[*]}; run: tools/install-packages run test"
}

lab_make() { # COUNT MESH
    local i node
    [ -d /run/wireguard ] || { mkdir -p /run/wireguard "$labs" && touch "$labs/.made-wireguard"; }
    mkdir -p "$lab/nodes" "$lab/bin" && chmod 0755 "$labs" "$lab" || die "cannot write to $labs"
    : >"$lab/faults"
    echo "$2" >"$lab/mesh"
    network_make lan || die "cannot make network namespaces here (is this a container without CAP_SYS_ADMIN?)"
    for ((i = 1; i <= $1; i++)); do
        node=n$i
        mkdir -p "$lab/nodes/$node/state" "$lab/nodes/$node/wireguard"
        chmod 0700 "$lab/nodes/$node/state"
        : >"$lab/nodes/$node/log"
        attach_node "$node" "$i" || die "cannot attach $node to the network"
    done
    network_narrow
    network_apply
}

# To the public segment, or behind the router that --behind names, which is made when first named.
attach_node() { # NODE NUMBER
    local choice router="" kind=preserving
    for choice in ${behind[@]+"${behind[@]}"}; do
        [ "${choice%%=*}" != "$1" ] || router=${choice#*=}
    done
    if [ -z "$router" ]; then
        attach_public "$1" "$2"
        return
    fi
    [[ $router =~ ^r([1-9][0-9]?)(:(preserving|random|double|no-udp))?$ ]] ||
        die "--behind is nK=rR or nK=rR:preserving|random|double|no-udp, R from 1 to 99"
    [ "$1" != n1 ] && [ "$mesh" != plain ] ||
        die "--behind is for nodes other than n1, with a real mesh"
    [[ $router != *:* ]] || kind=${router#*:}
    router=${router%%:*}
    ip netns list | grep -q "^ppn-$name-$router\b" || network_router "$router" "$kind" || return 1
    echo "$router" >"$lab/nodes/$1/router"
    echo "192.168.${router#r}.$((1 + $2))" >"$lab/nodes/$1/address"
    network_attach "$1" "$router-lan" "192.168.${router#r}.$((1 + $2))/24" "192.168.${router#r}.1"
}

# 10.99.0.K, or 2001:db8:99::K, or both: `address` names the first, `address6` the IPv6 one.
attach_public() { # NODE NUMBER
    local choice ip=4 own
    for choice in ${ips[@]+"${ips[@]}"}; do
        [[ $choice =~ ^n[0-9]+=(6|dual)$ ]] || die "--ip is nK=6 or nK=dual"
        [ "${choice%%=*}" != "$1" ] || ip=${choice#*=}
        [ "$1" != n1 ] || [ "$choice" = n1=6 ] || ip=dual
    done
    [ "$ip" = 6 ] && echo "[2001:db8:99::$2]" >"$lab/nodes/$1/address" || echo "10.99.0.$2" >"$lab/nodes/$1/address"
    if [ "$ip" = 6 ]; then
        network_attach "$1" lan "2001:db8:99::$2/64"
    else
        network_attach "$1" lan "10.99.0.$2/16"
    fi || return 1
    [ "$ip" != 4 ] || return 0
    echo "[2001:db8:99::$2]" >"$lab/nodes/$1/address6"
    own=$(namespace "$1")
    [ "$ip" = 6 ] || ip -n "$own" addr add "2001:db8:99::$2/64" dev eth0 nodad
}

# Puts the daemon and the tool on one PATH directory, wherever the build left them.
find_binaries() { # DIR or ""
    local root=$here/.. directory candidates=("$1") program found
    [ -n "$1" ] || candidates=("$root/build/product" "$root/build/release" "$root/build/dev")
    for directory in "${candidates[@]}"; do
        find_program "$directory" ppn-node >/dev/null || continue
        for program in ppn-node ppn ppn-probe-kvm ppn-relay; do
            found=$(find_program "$directory" $program) &&
                ln -sfn "$(realpath "$found")" "$lab/bin/$program"
        done
        [ -e "$lab/bin/ppn" ] || die "$directory has ppn-node but no ppn; build it there"
        return 0
    done
    die "no ppn-node in ${candidates[*]}; run: cmake --preset product && cmake --build --preset product"
}

find_program() { # DIRECTORY PROGRAM
    local path
    for path in "$1/$2" "$1/bin/$2" "$1"/src/*/"$2"; do
        [ -x "$path" ] && [ ! -d "$path" ] && echo "$path" && return 0
    done
    return 1
}

# --kvm LEVEL or nK=LEVEL, and --env, as lines of each node's environment file.
node_environments() {
    local node choice level
    for node in $(nodes); do
        level=""
        for choice in ${kvm[@]+"${kvm[@]}"}; do
            case $choice in
            "$node="*) level=${choice#*=} ;;
            n[0-9]*=*) ;;
            *) level=$choice ;;
            esac
        done
        case $level in "" | none | boots) ;; *) die "--kvm takes none or boots, not '$level'" ;; esac
        {
            [ -z "$level" ] || echo "PPN_LAB_KVM=$level"
            [ ${#variables[@]} = 0 ] || printf '%s\n' "${variables[@]}"
        } >"$lab/nodes/$node/environment"
    done
}

time_left() { echo $((deadline - $(seconds))); }

# n1's address of a family that the node has.
seed_for() {
    case $(cat "$lab/nodes/$1/address") in
    \[*) cat "$lab/nodes/n1/address6" ;;
    *) cat "$lab/nodes/n1/address" ;;
    esac
}

start_network() { # COUNT ADMIT
    local i
    node_launch n1 --found "$name"
    node_ready n1 || exit 1
    for ((i = 2; i <= $1; i++)); do
        node_launch "n$i" --seed "$(seed_for "n$i")"
    done
    if [ "$2" = 0 ]; then
        for ((i = 2; i <= $1; i++)); do node_ready "n$i" || exit 1; done
        return 0
    fi
    admit_all "$1"
}

# n1's events wake the loop: who asks to join is admitted, until every node sees every node alive.
# A second passes at most between two looks, should an event be missed.
admit_all() { # COUNT
    local count=$1 reader
    coproc EVENTS { exec "$lab/bin/ppn" --socket "$lab/nodes/n1/state/ppn.sock" events --json 2>/dev/null; }
    reader=$EVENTS_PID
    until all_see_all "$count"; do
        admit_waiting
        still_running
        if [ "$(time_left)" -le 0 ]; then
            say "not every node sees $count nodes alive in time:"
            show_views
            kill "$reader" 2>/dev/null
            exit 1
        fi
        # A closed stream would return at once: then the pause is ours.
        read -r -t 1 -u "${EVENTS[0]}" _ 2>/dev/null || sleep 0.2
    done
    kill "$reader" 2>/dev/null
    wait "$reader" 2>/dev/null
    return 0
}

admit_waiting() {
    local joiner role
    for joiner in $(ppn_of n1 joins --json 2>/dev/null | jq -r '.joins[]?.name'); do
        role=()
        [[ " ${relays[*]-} " != *" $joiner "* ]] || role=(--role relay)
        ppn_of n1 admit "$joiner" ${role[@]+"${role[@]}"} >/dev/null || say "n1 did not admit $joiner"
    done
}

still_running() {
    local node
    for node in $(nodes); do
        alive "$lab/nodes/$node/pid" >/dev/null || { node_ended "$node"; exit 1; }
    done
}

alive_seen_by() {
    ppn_of "$1" nodes --json 2>/dev/null | jq -r '[.nodes[] | select(.state == "alive")] | length' 2>/dev/null
}

all_see_all() {
    local node
    for node in $(nodes); do
        [ "$(alive_seen_by "$node")" = "$1" ] || return 1
    done
}

show_views() {
    local node
    for node in $(nodes); do
        say "$node sees $(alive_seen_by "$node") alive; its log ends:"
        tail -n 3 "$lab/nodes/$node/log" >&2
    done
}
