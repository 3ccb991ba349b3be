# SPDX-License-Identifier: ISC
"""Ways between machines of every kind, from a cold start: which class each pair has in the end, which is
the best that its routers allow, when the first packet went through and when the best way was in use.

Started by tools/bench with PPN_LAB_NAME set. All daemons are stopped and started at one moment; a probe
in each namespace sends ICMPv6 echos over the mesh, the daemons' logs say which way they use."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

LAB = "tools/lab"
KINDS = {
    "n1": "public, relay",
    "n2": "port-preserving NAT",
    "n3": "LAN neighbour of n2",
    "n4": "another port-preserving NAT",
    "n5": "symmetric NAT",
    "n6": "IPv6 alone",
    "n7": "two-layer NAT",
    "n8": "another with IPv6 alone",
    "n9": "another two-layer NAT",
}
UP = ["--behind", "n2=r1:preserving", "--behind", "n3=r1", "--behind", "n4=r2:preserving",
      "--behind", "n5=r3:random", "--ip", "n6=6", "--behind", "n7=r4:double", "--ip", "n8=6", "--behind", "n9=r5:double"]
PAIRS = [(a, b) for a in KINDS for b in KINDS if a < b]
PUBLIC = {"n1", "n6", "n8"}
SETTLE_S = 25

PROBE = r"""
import json, os, select, socket, struct, sys, time
end, targets, first = float(sys.argv[1]), sys.argv[2:], {}
sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
number = os.getpid() & 0xffff
while time.time() < end and len(first) < len(targets):
    for target in targets:
        if target not in first:
            try:
                sock.sendto(struct.pack("!BBHHH", 128, 0, 0, number, 1), (target, 0))
            except OSError:
                pass
    until = time.time() + 0.05
    while (left := until - time.time()) > 0:
        if not select.select([sock], [], [], left)[0]:
            break
        packet, source = sock.recvfrom(2048)
        if packet[0] == 129 and struct.unpack("!H", packet[4:6])[0] == number and source[0] in targets:
            first.setdefault(source[0], time.time())
print(json.dumps(first))
"""


def best(a, b):
    """The best class that the routers between two nodes allow, in the words of `a`. A public node calls
    punched what leads through the other's router: the other opened it by dialling the public address."""
    if {a, b} == {"n2", "n3"}:
        return "lan"
    if {a, b} <= PUBLIC:
        return "public"
    if "n1" in (a, b):
        return "punched" if a == "n1" else "public"
    return "punched" if {a, b} <= {"n2", "n3", "n4"} else "relayed"


def lab(*arguments, check=True):
    return subprocess.run([LAB, *arguments], check=check, capture_output=True, text=True).stdout


def on(node, *command):
    return subprocess.run([LAB, "exec", node, "--", *command], capture_output=True, text=True)


def log_of(node):
    for line in lab("status").splitlines():
        words = line.split()
        if words and words[0] == node:
            return words[-1]
    raise SystemExit(f"bench: the lab does not know {node}")


class Log:
    """Follows a daemon's log and notes when which way to whom was taken."""

    def __init__(self, node):
        self.file = open(log_of(node), errors="replace")
        self.file.seek(0, os.SEEK_END)
        self.rest = ""
        self.ways = {}

    def read(self):
        lines = (self.rest + self.file.read()).split("\n")
        self.rest = lines.pop()
        for line in lines:
            if " event=path " in line:
                words = dict(word.split("=", 1) for word in line.split() if "=" in word)
                self.ways.setdefault(words["node"], []).append((time.time(), words["way"]))


def measure():
    """One cold start of all; rows of a table."""
    nodes = json.loads(on("n1", "ppn", "nodes", "--json").stdout)["nodes"]
    address = {node["name"]: node["address"] for node in nodes}
    for node in KINDS:
        lab("stop", node)
    logs = {node: Log(node) for node in KINDS}
    start = time.time()
    end = start + SETTLE_S
    starting = [subprocess.Popen([LAB, "start", node], stdout=subprocess.DEVNULL) for node in KINDS]
    probes = {}
    for node in KINDS:
        targets = [address[b] for a, b in PAIRS if a == node]
        if targets:
            probes[node] = subprocess.Popen(
                [LAB, "exec", node, "--", sys.executable, "-c", PROBE, str(end), *targets],
                stdout=subprocess.PIPE, text=True)
    while time.time() < end:
        for log in logs.values():
            log.read()
        time.sleep(0.02)
    first = {node: json.loads(probe.communicate()[0] or "{}") for node, probe in probes.items()}
    for process in starting:
        process.wait()
    rows = []
    for a, b in PAIRS:
        way, wanted = [], []
        for x, y in ((a, b), (b, a)):
            way.append(json.loads(on(x, "ppn", "why", y, "--json").stdout or "{}").get("path"))
            wanted.append(best(x, y))
        since = []
        for x, y in ((a, b), (b, a)):
            told = logs[x].ways.get(y, [])
            since.append(told[-1][0] - start if told and told[-1][1] == best(x, y) else None)
        packet = first[a].get(address[b])
        rows.append({
            "a": a, "b": b, "class": way[1] if way == wanted else f"{way[0]}/{way[1]}", "best": best(b, a),
            "first_packet_s": None if packet is None else packet - start,
            "best_way_s": None if None in since else max(since)})
    return rows


def middle(rows, key):
    values = [row[key] for row in rows]
    return None if None in values else statistics.median(values)


def text(seconds):
    return "never" if seconds is None else f"{seconds:.1f} s"


def main():
    parser = argparse.ArgumentParser(prog="bench paths", description=__doc__.split("\n")[0])
    parser.add_argument("--bin", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, default=3, help="cold starts (3)")
    parser.add_argument("--json", action="store_true", help="one JSON object last")
    options = parser.parse_args()
    print(f"bench: {len(KINDS)} nodes behind routers of every kind", file=sys.stderr)
    lab("up", "--nodes", str(len(KINDS)), "--bin", options.bin, "--timeout", "90", *UP)
    runs = []
    for number in range(options.runs):
        print(f"bench: cold start {number + 1} of {options.runs}", file=sys.stderr)
        runs.append(measure())
    good, table = True, []
    print(f"{'PAIR':<58}{'WAY':<10}{'BEST':<10}{'FIRST PACKET':>13}{'BEST WAY':>10}")
    for rows in zip(*runs):
        a, b = rows[0]["a"], rows[0]["b"]
        classes = sorted({row["class"] for row in rows})
        packet, way = middle(rows, "first_packet_s"), middle(rows, "best_way_s")
        fine = classes == [best(b, a)] and packet is not None
        good = good and fine
        table.append({"a": KINDS[a], "b": KINDS[b], "class": ",".join(map(str, classes)), "best": best(b, a),
                      "first_packet_s": packet, "best_way_s": way})
        print(f"{KINDS[a] + ' - ' + KINDS[b]:<58}{','.join(map(str, classes)):<10}{best(b, a):<10}"
              f"{text(packet):>13}{text(way):>10}{'' if fine else '   not the best'}")
    print(f"from a cold start of all {len(KINDS)}; medians of {options.runs}; the way as the second of each pair calls it")
    if options.json:
        print(json.dumps({"schema": 1, "bench": "paths", "runs": options.runs, "pairs": table}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
