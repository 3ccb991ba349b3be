# Sourced by tools/lab: namespaces, segments, and the faults between nodes.
#
# A segment is a bridge in the lab's switch namespace; every node has a veth into one. Nothing is
# made in the machine's own namespace, so nothing there can collide or be left over. Faults are
# rules on the forwarding of those bridges: the sender never learns of a loss, as on a real cable.

network_make() { # SEGMENT...
    local switch segment
    switch=$(namespace switch)
    ip netns add "$switch" && ip -n "$switch" link set lo up || return 1
    for segment in "$@"; do
        ip -n "$switch" link add "$segment" type bridge mcast_snooping 0 &&
            ip -n "$switch" link set "$segment" up || return 1
    done
}

# network_attach NODE SEGMENT ADDRESS/LENGTH [GATEWAY]: the node's eth0.
network_attach() {
    local node=$1 segment=$2 address=$3 gateway=${4-} switch own
    switch=$(namespace switch) own=$(namespace "$node")
    ip netns add "$own" && ip -n "$own" link set lo up &&
        ip -n "$switch" link add "$node" type veth peer name eth0 netns "$own" &&
        ip -n "$switch" link set "$node" master "$segment" up &&
        ip -n "$own" addr add "$address" dev eth0 &&
        ip -n "$own" link set eth0 up || return 1
    [[ $address != *:* ]] || ip -n "$own" addr change "$address" dev eth0 nodad || return 1
    [ -z "$gateway" ] || ip -n "$own" route add default via "$gateway"
}

# network_router ROUTER KIND: a home router between a segment of its own, ROUTER-lan with
# 192.168.R.0/24, and the public one, where it is 10.99.1.R. What comes unasked from outside is
# dropped without a word. KIND says how it maps the source ports of what goes out:
#   preserving  the same port outside as inside, for every destination: can be punched through
#   random      another random port for each destination ("symmetric"): cannot
#   double      behind a second router of the provider's, which maps at random
#   no-udp      preserving, but lets no UDP out: a strict office
network_router() {
    local router=$1 kind=$2 number=${1#r} outside=lan address=10.99.1.${1#r}/16 gateway=""
    if [ "$kind" = double ]; then
        network_router_make "${router}x" lan "$address" "" "100.64.$number.1/24" random || return 1
        outside=${router}x-lan address=100.64.$number.2/24 gateway=100.64.$number.1 kind=preserving
    fi
    network_router_make "$router" "$outside" "$address" "$gateway" "192.168.$number.1/24" "$kind"
}

network_router_make() { # ROUTER OUTSIDE-SEGMENT ADDRESS GATEWAY INSIDE-ADDRESS KIND
    local router=$1 outside=$2 address=$3 gateway=$4 inside=$5 kind=$6 switch own ports="" udp=""
    switch=$(namespace switch) own=$(namespace "$router")
    [ "$kind" != random ] || ports=fully-random
    [ "$kind" != no-udp ] || udp="meta l4proto udp drop"
    ip -n "$switch" link add "$router-lan" type bridge mcast_snooping 0 &&
        ip -n "$switch" link set "$router-lan" up &&
        ip netns add "$own" && ip -n "$own" link set lo up &&
        ip -n "$switch" link add "$router-out" type veth peer name out netns "$own" &&
        ip -n "$switch" link set "$router-out" master "$outside" up &&
        ip -n "$switch" link add "$router-in" type veth peer name in netns "$own" &&
        ip -n "$switch" link set "$router-in" master "$router-lan" up &&
        ip -n "$own" addr add "$address" dev out && ip -n "$own" link set out up &&
        ip -n "$own" addr add "$inside" dev in && ip -n "$own" link set in up || return 1
    [ -z "$gateway" ] || ip -n "$own" route add default via "$gateway" || return 1
    ip netns exec "$own" sysctl -qw net.ipv4.ip_forward=1 || return 1
    if [ -n "${udp_timeout-}" ]; then
        ip netns exec "$own" sysctl -qw "net.netfilter.nf_conntrack_udp_timeout=$udp_timeout" \
            "net.netfilter.nf_conntrack_udp_timeout_stream=$udp_timeout" || return 1
    fi
    ip netns exec "$own" nft -f - <<RULES
table ip router {
    chain input {
        type filter hook input priority 0; policy accept;
        iifname "out" ct state new drop
    }
    chain forward {
        type filter hook forward priority 0; policy accept;
        iifname "out" ct state new drop
        $udp
    }
    chain outside {
        type nat hook postrouting priority 100;
        oifname "out" masquerade $ports
    }
}
RULES
}

# The links that --mtu names. What is too large is dropped on both sides, and the message that says so
# too, as behind many a router of the real world.
network_narrow() {
    local choice router own switch
    switch=$(namespace switch)
    for choice in ${mtus[@]+"${mtus[@]}"}; do
        [[ $choice =~ ^r[1-9][0-9]?=[0-9]+$ ]] || die "--mtu is rR=BYTES, not '$choice'"
        router=${choice%%=*} own=$(namespace "${choice%%=*}")
        ip netns list | grep -q "^$own\b" || die "--mtu: lab '$name' has no router '$router'"
        ip -n "$own" link set out mtu "${choice#*=}" &&
            ip -n "$switch" link set "$router-out" mtu "${choice#*=}" || return 1
        ip netns exec "$own" nft -f - <<RULES || return 1
table ip narrow {
    chain output {
        type filter hook output priority 0; policy accept;
        icmp type destination-unreachable icmp code frag-needed drop
    }
}
RULES
    done
}

# network_move NODE lan|ROUTER: pulls the node's cable and puts it into another network, where it gets
# an address that it did not have before.
network_move() {
    local node=$1 to=$2 number=${1#n} own switch segment=lan address=10.99.2.${1#n}/16 gateway=""
    switch=$(namespace switch) own=$(namespace "$node")
    if [ "$to" != lan ]; then
        ip netns list | grep -q "^ppn-$name-$to\b" || die "lab '$name' has no router '$to'"
        segment=$to-lan address=192.168.${to#r}.$((101 + number))/24 gateway=192.168.${to#r}.1
        echo "$to" >"$lab/nodes/$node/router"
    else
        : >"$lab/nodes/$node/router"
    fi
    echo "${address%/*}" >"$lab/nodes/$node/address"
    ip -n "$own" link set eth0 down && ip -n "$own" addr flush dev eth0 scope global &&
        ip -n "$switch" link set "$node" master "$segment" &&
        ip -n "$own" addr add "$address" dev eth0 && ip -n "$own" link set eth0 up ||
        die "cannot move $node to $to"
    [ -z "$gateway" ] || ip -n "$own" route add default via "$gateway"
}

# network_swap NODE ROUTER: pulls the cable of a node behind a router and puts it into another router's
# network, which has the same addresses inside. The node sees its link go and come, and nothing else.
network_swap() {
    local node=$1 router=$2 old switch
    switch=$(namespace switch)
    [ -s "$lab/nodes/$node/router" ] || die "$node is behind no router"
    ip netns list | grep -q "^ppn-$name-$router\b" || die "lab '$name' has no router '$router'"
    old=$(ip -n "$(namespace "$node")" -4 route show default | awk '{print $3; exit}')
    echo "$router" >"$lab/nodes/$node/router"
    ip -n "$(namespace "$router")" addr replace "$old/24" dev in && ip -n "$switch" link set "$node" down &&
        ip -n "$switch" link set "$node" master "$router-lan" && ip -n "$switch" link set "$node" up ||
        die "cannot swap $node's network"
}

# network_rebind ROUTER: another outside address from the provider. The kernel forgets the mappings of
# an address that goes, so every flow comes from elsewhere now.
network_rebind() {
    local router=$1 own old new
    [[ $router =~ ^r[0-9]+x?$ ]] && ip netns list | grep -q "^ppn-$name-$router\b" ||
        die "lab '$name' has no router '$router'"
    own=$(namespace "$router")
    old=$(ip -n "$own" -4 -o addr show dev out | awk '{print $4; exit}')
    case $old in
    10.99.1.*) new=10.99.3.${old#10.99.1.} ;;
    10.99.3.*) new=10.99.1.${old#10.99.3.} ;;
    *) die "$router is not on the public segment; rebind the outer one, ${router}x" ;;
    esac
    ip -n "$own" addr del "$old" dev out && ip -n "$own" addr add "$new" dev out ||
        die "cannot give $router another address"
}

network_remove() {
    local own
    for own in $(ip netns list 2>/dev/null | cut -d' ' -f1); do
        [[ $own == "ppn-$name-"* ]] && [[ ${own#"ppn-$name-"} =~ ^(switch|n[0-9]+|r[0-9]+x?)$ ]] &&
            ip netns del "$own"
    done
    return 0
}

# The address under which others see a node: its own, or its router's.
outside_address() {
    local router
    if [ -s "$lab/nodes/$1/router" ]; then
        router=$(cat "$lab/nodes/$1/router")
        ! ip netns list | grep -q "^ppn-$name-${router}x\b" || router=${router}x
        ip -n "$(namespace "$router")" -4 -o addr show dev out | awk '{sub("/.*", "", $4); print $4; exit}'
    else
        cat "$lab/nodes/$1/address"
    fi
}

# The faults are lines in $lab/faults ("cut A B", "isolate A", "loss A PERCENT"); the rules are made
# from all of them and replaced in one step.
network_apply() {
    local kind a b chance
    {
        echo "table bridge lab"
        echo "delete table bridge lab"
        echo "table bridge lab {"
        echo " chain faults {"
        echo "  type filter hook forward priority 0; policy accept;"
        while read -r kind a b; do
            case $kind in
            cut)
                echo "  iifname \"$a\" oifname \"$b\" counter drop"
                echo "  iifname \"$b\" oifname \"$a\" counter drop"
                cut_behind "$a" "$b" || cut_behind "$b" "$a" || true ;;
            isolate)
                echo "  iifname \"$a\" counter drop"
                echo "  oifname \"$a\" counter drop" ;;
            loss)
                chance="numgen random mod 100 < $b"
                [ "$b" != 100 ] || chance=""
                echo "  iifname \"$a\" $chance counter drop"
                echo "  oifname \"$a\" $chance counter drop" ;;
            esac
        done <"$lab/faults"
        echo " }"
        echo "}"
    } >"$lab/faults.nft"
    ip netns exec "$(namespace switch)" nft -f "$lab/faults.nft" ||
        die "nft refused the rules in $lab/faults.nft; is nf_tables with the bridge family there?"
}

# A node behind a router is cut off on its own cable, where its packets still show which node they
# are of. What the other one shares its router with is cut off too: it has the same address.
cut_behind() { # NODE OTHER
    local other
    [ -s "$lab/nodes/$1/router" ] || return 1
    other=$(outside_address "$2")
    echo "  iifname \"$1\" ip daddr $other counter drop"
    echo "  oifname \"$1\" ip saddr $other counter drop"
}

network_cut() {
    [ "$1" != "$2" ] || die "cut needs two different nodes"
    echo "cut $1 $2" >>"$lab/faults"
    network_apply
}

network_isolate() {
    echo "isolate $1" >>"$lab/faults"
    network_apply
}

network_loss() {
    [[ $2 =~ ^[0-9]+$ ]] && [ "$2" -le 100 ] || die "loss is a whole percentage from 0 to 100"
    sed -i "/^loss $1 /d" "$lab/faults"
    [ "$2" = 0 ] || echo "loss $1 $2" >>"$lab/faults"
    network_apply
}

network_heal() {
    : >"$lab/faults"
    network_apply
}
