# SPDX-License-Identifier: ISC
"""The network beneath `tools/bench gossip`: the lab's namespaces, faults on its bridge, counters.

Faults are rules on the forwarding of the bridge, so no sender learns of a loss. They hit both
kinds of agents in the same instant, since both run in the same namespaces."""

import json
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
LAB = os.path.join(HERE, "..", "lab")
LAB_ROOT = "/run/ppn-lab"


NEIGHBOURS = "/proc/sys/net/ipv{}/neigh/default/gc_thresh3"
NEIGHBOURS_NEEDED = 16384


class Network:
    """The table of neighbours (ARP, NDP) is one for all namespaces of a machine, 1024 entries as a
    rule: 32 agents that all talk to each other fill it, and packets are dropped that no network
    lost. It is made larger while the bench runs."""

    def __init__(self, name, count, mesh):
        self.neighbours = {}
        self.name, self.count, self.mesh = name, count, mesh
        self.nodes = [f"n{i}" for i in range(1, count + 1)]
        self.directory = os.path.join(LAB_ROOT, name)
        self.switch = f"ppn-{name}-switch"

    def _widen(self):
        for family in (4, 6):
            path = NEIGHBOURS.format(family)
            with open(path, encoding="ascii") as file:
                value = int(file.read())
            if value < NEIGHBOURS_NEEDED:
                self.neighbours[path] = value
                with open(path, "w", encoding="ascii") as file:
                    file.write(str(NEIGHBOURS_NEEDED))

    def up(self):
        self._widen()
        subprocess.run([LAB, "up", "--name", self.name, "--nodes", str(self.count), "--no-nodes",
                        "--mesh", self.mesh, "--timeout", "120"], check=True,
                       stderr=subprocess.DEVNULL)
        self._nft(self._counters())

    def down(self):
        subprocess.run([LAB, "down", "--name", self.name], stderr=subprocess.DEVNULL)
        for path, value in self.neighbours.items():
            with open(path, "w", encoding="ascii") as file:
                file.write(str(value))

    @staticmethod
    def address(node):
        return "10.99.0." + node[1:]

    def namespace(self, node):
        return f"/run/netns/ppn-{self.name}-{node}"

    def _nft(self, text):
        subprocess.run(["ip", "netns", "exec", self.switch, "nft", "-f", "-"], input=text,
                       text=True, check=True)

    def _counters(self):
        # Plain: gossip and the peers' frames share a port number. WireGuard: all its packets.
        port = {"serf": 7946, "ppn": 7441 if self.mesh == "plain" else 51820}
        lines = ["table bridge bench {"]
        for kind in port:
            lines.append(f" counter {kind} {{ }}")
        lines.append(" chain count { type filter hook forward priority -10; policy accept;")
        for kind, number in port.items():
            lines.append(f"  meta l4proto {{ tcp, udp }} th dport {number} counter name {kind} accept")
            lines.append(f"  meta l4proto {{ tcp, udp }} th sport {number} counter name {kind} accept")
        return "\n".join(lines + [" }", "}"]) + "\n"

    def counted(self):
        """{kind: (packets, bytes)} that crossed the bridge so far."""
        out = subprocess.run(["ip", "netns", "exec", self.switch, "nft", "-j", "list", "counters"],
                             capture_output=True, text=True, check=True).stdout
        result = {}
        for item in json.loads(out)["nftables"]:
            if "counter" in item and item["counter"]["table"] == "bench":
                result[item["counter"]["name"]] = (item["counter"]["packets"],
                                                   item["counter"]["bytes"])
        return result

    def _faults(self, rules):
        self._nft("table bridge faults\ndelete table bridge faults\ntable bridge faults {\n"
                  " chain faults { type filter hook forward priority 0; policy accept;\n"
                  + "".join(f"  {rule}\n" for rule in rules) + " }\n}\n")

    def cut(self, node):
        self._faults([f'iifname "{node}" drop', f'oifname "{node}" drop'])

    def halve(self, side):
        names = ", ".join(f'"{node}"' for node in side)
        others = ", ".join(f'"{node}"' for node in self.nodes if node not in side)
        self._faults([f"iifname {{ {names} }} oifname {{ {others} }} drop",
                      f"iifname {{ {others} }} oifname {{ {names} }} drop"])

    def lose(self, percent):
        self._faults([f"numgen random mod 100 < {percent} drop"])

    def heal(self):
        self._faults([])
