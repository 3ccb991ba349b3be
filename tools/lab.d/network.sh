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
    [ -z "$gateway" ] || ip -n "$own" route add default via "$gateway"
}

network_remove() {
    local own
    for own in $(ip netns list 2>/dev/null | cut -d' ' -f1); do
        case $own in
        "ppn-$name-switch") ip netns del "$own" ;;
        "ppn-$name-n"*) [[ ${own#"ppn-$name-"} =~ ^n[0-9]+$ ]] && ip netns del "$own" ;;
        esac
    done
}

# The faults are lines in $lab/faults ("cut A B", "isolate A", "loss A PERCENT"); the rules are made
# from all of them and replaced in one step.
network_apply() {
    local kind a b percent
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
                echo "  iifname \"$b\" oifname \"$a\" counter drop" ;;
            isolate)
                echo "  iifname \"$a\" counter drop"
                echo "  oifname \"$a\" counter drop" ;;
            loss)
                percent=$b
                echo "  iifname \"$a\" numgen random mod 100 < $percent counter drop"
                echo "  oifname \"$a\" numgen random mod 100 < $percent counter drop" ;;
            esac
        done <"$lab/faults"
        echo " }"
        echo "}"
    } >"$lab/faults.nft"
    ip netns exec "$(namespace switch)" nft -f "$lab/faults.nft" ||
        die "nft refused the rules in $lab/faults.nft; is nf_tables with the bridge family there?"
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
