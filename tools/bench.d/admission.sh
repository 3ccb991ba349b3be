# Sourced by tools/bench: the log of admissions in one process against bare signature checks, then real
# daemons over WireGuard: a founder whose log has many entries, and a machine that joins by a token.

admission_value() { awk -v n="$1" '$1 == n {print $2}' "$work/core"; }
admission_log() { on "$1" ppn status --json 2>/dev/null | jq -r '.log_head // empty'; }
admission_daemon() { # NODE -> pid of its ppn-node
    local pid
    for pid in $(ip netns pids "ppn-$PPN_LAB_NAME-$1"); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = ppn-node ] && echo "$pid" && return
    done
}
admission_received() { ip -j -s -n "ppn-$PPN_LAB_NAME-n2" link show eth0 | jq '.[0].stats64.rx.bytes'; }

# A fresh node and a log of many entries.
admission_lab() {
    local entries=$1 key socket body token started before pid
    lab up --nodes 2 --no-nodes --bin "$bin" >/dev/null || return 1
    lab start n1 --found bench >/dev/null || return 1
    for _ in $(seq 100); do [ -n "$(admission_log n1)" ] && break; sleep 0.1; done
    socket=/run/ppn-lab/$PPN_LAB_NAME/nodes/n1/state/ppn.sock
    key=$(on n1 ppn status --json | jq -r .admin_key_file)
    on n1 ppn log --export "$work/log" >/dev/null || return 1
    "$bin/ppn-admission-bench" --extend "$work/log" "$key" "$entries" "$work/body" || return 1
    started=$(now_ms)
    for body in "$work"/body*; do
        curl -sf --unix-socket "$socket" --data-binary "@$body" -H 'Content-Type: application/octet-stream' \
            http://ppn/v1/log/entries >/dev/null || { echo "bench: entries were refused" >&2; return 1; }
    done
    submitted_ms=$(($(now_ms) - started))
    rm "$work/log"
    on n1 ppn log --export "$work/log" >/dev/null
    log_bytes=$(stat -c %s "$work/log")
    token=$(on n1 ppn invite 2>/dev/null | grep -o 'ppn1-[A-Za-z0-9]*' | head -n 1)
    [ -n "$token" ] || return 1
    before=$(admission_received)
    started=$(now_ms)
    lab start n2 --token "$token" >/dev/null || return 1
    for _ in $(seq 600); do
        [ -n "$(admission_log n2)" ] && [ "$(admission_log n2)" = "$(admission_log n1)" ] && break
        sleep 0.05
    done
    synced_ms=$(($(now_ms) - started))
    received=$(($(admission_received) - before))
    [ "$(admission_log n2)" = "$(admission_log n1)" ] || { echo "bench: n2 has another log" >&2; return 1; }
    on n2 ppn log --verify >/dev/null || { echo "bench: the log of n2 does not verify" >&2; return 1; }
    pid=$(admission_daemon n2)
    peak_kib=$(awk '/^VmHWM/ {print $2}' "/proc/$pid/status")
}

bench_admission() {
    local entries=10000 json= submitted_ms synced_ms received peak_kib log_bytes
    while [ $# -gt 0 ]; do
        case $1 in --entries) entries=$2; shift ;; --json) json=1 ;; *) return 2 ;; esac
        shift
    done
    [ -x "$bin/ppn-admission-bench" ] || { echo "bench: no ppn-admission-bench in $bin; build it with tests: cmake --preset release && cmake --build --preset release" >&2; exit 1; }
    "$bin/ppn-admission-bench" "$entries" >"$work/core" || exit 1
    admission_lab "$entries" || exit 1
    printf '%-52s %10s   %s\n' "of a log of $entries entries" "" promised
    printf '%-52s %10s\n' "bare Ed25519 checks a second" "$(admission_value bare_signature_checks_per_s)"
    printf '%-52s %10s   0.80\n' "entries checked a second, ratio to it" "$(admission_value of_bare_limit)"
    printf '%-52s %10s us\n' "append, the first 500" "$(admission_value append_first_500)"
    printf '%-52s %10s us  flat\n' "append, the last 500" "$(admission_value append_last_500)"
    printf '%-52s %10s ms\n' "fold from scratch" "$(admission_value fold_from_scratch)"
    printf '%-52s %10s s\n' "sync from empty, in one process" "$(admission_value sync_from_empty)"
    printf '%-52s %10s ms\n' "a checkpoint closes a log of $(admission_value checkpoint_of) entries" "$(admission_value checkpoint_closes)"
    printf '%-52s %10s\n' "entries that it keeps" "$(admission_value checkpoint_keeps)"
    printf '%-52s %10s   %s before\n' "bytes that a joiner is sent then" "$(admission_value checkpoint_bytes_after)" "$(admission_value checkpoint_bytes_before)"
    printf '%-52s %10s ms\n' "the founder takes them all over its socket, synced" "$submitted_ms"
    printf '%-52s %10s ms\n' "a fresh node joins and has them, over the lab" "$synced_ms"
    printf '%-52s %10s   %s in the log\n' "bytes it received meanwhile" "$received" "$log_bytes"
    printf '%-52s %10s KiB\n' "peak memory of its daemon" "$peak_kib"
    [ -z "$json" ] || awk -v s="$synced_ms" -v m="$submitted_ms" -v r="$received" -v l="$log_bytes" -v p="$peak_kib" '
        BEGIN {printf "{\"schema\":1,\"bench\":\"admission\""}
        {printf ",\"%s\":%s", $1, $2}
        END {printf ",\"submitted_ms\":%d,\"joined_with_log_ms\":%d,\"received_bytes\":%d,\"log_bytes\":%d,\"peak_kib\":%d}\n", m, s, r, l, p}' "$work/core"
    awk -v r="$(admission_value of_bare_limit)" -v a="$(admission_value append_first_500)" -v z="$(admission_value append_last_500)" \
        'BEGIN {exit !(r >= 0.8 && z <= 1.5 * a)}'
}
