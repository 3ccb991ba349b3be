#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""tools/bench gossip: PPN's agents beside Serf's, in the same namespaces, at the same moments.

  --agents N        how many of each kind (default 16; 2 to 64)
  --mesh plain|userspace|kernel   PPN's mesh (default plain, as Serf runs without encryption)
  --rows A,B,...    join idle update kill cut half starve loss (default: all)
  --runs N          repetitions of kill, cut and update (default 5)
  --seconds N       of the idle, starvation and loss rows (default 60, 60 and 90)
  --partitions A,B  seconds that halves are apart (default 60,120)
  --seed N          draws the victims (default 1)
  --bin DIR         where ppn-node and ppn are
  --json FILE       the rows as JSON

A row fails when PPN misses the bound written behind it. Exit 0: every row holds; 1: one does not;
2: wrong usage; 3: the bench cannot run here."""

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time

import gossip_agents
from gossip_agents import OUT, POLL_S, Ppn, Serf
from gossip_net import Network

SETTLE_S = 90  # for a network to be whole again; Serf dials failed members every 30 s
# A death told so long after its subject woke is still the stop's doing: the last verdict, its window
# for objections and its way to everybody take PPN 2 s from nothing (row "host cut off").
TOLD_LATE_S = 3
REPEAT_S = 5  # one death is told by many; so long after it was last told it is another one
ROWS = ("join", "idle", "update", "kill", "cut", "half", "starve", "loss")


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Bench:
    def __init__(self, options, network, serf, ppn):
        self.options, self.network, self.kinds = options, network, (serf, ppn)
        self.serf, self.ppn = serf, ppn
        self.random = random.Random(options.seed)
        self.rows = []

    def wait(self, done, timeout_s):
        """Pumps both until done(kind) for both; {kind: time it was seen}."""
        seen, end = {}, time.monotonic() + timeout_s
        while len(seen) < 2 and time.monotonic() < end:
            for agents in self.kinds:
                agents.pump()
                if agents.kind not in seen and done(agents):
                    seen[agents.kind] = time.monotonic()
            time.sleep(POLL_S)
        return seen

    def rest(self, seconds):
        self.wait(lambda agents: False, seconds)

    def settle(self, what):
        seen = self.wait(lambda agents: agents.all_alive(), SETTLE_S)
        for agents in self.kinds:
            if agents.kind not in seen:
                say(f"{agents.kind} is not whole {SETTLE_S} s after {what}: {holes(agents)}")
        for agents in self.kinds:
            agents.forget()
        return seen

    def row(self, name, unit, serf, ppn, bound, limit=None):
        """bound: a function of Serf's figure, or None for a row that is only told."""
        holds = None if bound is None or ppn is None else ppn <= bound(serf)
        ratio = None if not serf or ppn is None else ppn / serf
        self.rows.append({"row": name, "unit": unit, "serf": serf, "ppn": ppn, "ratio": ratio,
                          "bound": limit, "holds": holds if ppn is not None else False})
        say(f"{name}: serf {show(serf)} ppn {show(ppn)} {unit}")

    # -- rows ------------------------------------------------------------------------------------

    def join(self):
        took = {}
        for agents in self.kinds:
            begun = time.monotonic()
            agents.start_all()
            end = begun + SETTLE_S
            while not agents.all_alive() and time.monotonic() < end:
                agents.pump()
                time.sleep(POLL_S)
            took[agents.kind] = time.monotonic() - begun if agents.all_alive() else None
        if None in took.values():
            raise RuntimeError(f"not whole at the start: {took}; {holes(self.ppn)}")
        if "join" in self.options.rows:
            self.row("join: all see all (PPN: with admission)", "s", took["serf"], took["ppn"], None)
        self.settle("the start")

    def idle(self):
        seconds = self.options.seconds or 60
        self.ppn.watch(False)
        time.sleep(15)
        first, told = self.network.counted(), self.ppn.payload()
        cpu = {a.kind: sum(gossip_agents.cpu_ns(a.daemon(n)) for n in a.processes) for a in self.kinds}
        time.sleep(seconds)
        last, telling = self.network.counted(), self.ppn.payload()
        per = seconds * self.network.count
        cost = {}
        for agents in self.kinds:
            kind = agents.kind
            pids = [agents.daemon(node) for node in agents.processes]
            cost[kind] = {
                "bytes": (last[kind][1] - first[kind][1]) / per,
                "packets": (last[kind][0] - first[kind][0]) / per,
                "cpu": (sum(map(gossip_agents.cpu_ns, pids)) - cpu[kind]) / 1e7 / per,
                "pss": statistics.mean(map(gossip_agents.pss_kib, pids))}
        serf, ppn = cost["serf"], cost["ppn"]
        self.row("idle: bytes/s an agent, PPN with signed heartbeats", "B/s", serf["bytes"],
                 ppn["bytes"], lambda s: 1.5 * s, "1.5 x Serf")
        beats = (telling["heartbeat_bytes_sent"] - told["heartbeat_bytes_sent"]) / per
        self.row("idle: bytes/s an agent, without the heartbeats' payload", "B/s", serf["bytes"],
                 ppn["bytes"] - beats, lambda s: s, "Serf")
        self.row("idle: packets/s an agent", "1/s", serf["packets"], ppn["packets"], None)
        self.row("idle: CPU an agent", "%", serf["cpu"], ppn["cpu"], lambda s: s / 4, "1/4 of Serf")
        self.row("idle: memory (PSS) an agent", "KiB", serf["pss"], ppn["pss"], lambda s: s / 2,
                 "1/2 of Serf")
        self.ppn.watch(True)
        self.settle("the idle row")

    def update(self):
        times = {"serf": [], "ppn": []}
        for run in range(self.options.runs):
            for agents in self.kinds:
                node = self.random.choice(self.network.nodes)
                agents.updates = []
                begun = time.monotonic()
                agents.update(node, f"r{run}")
                end, need = begun + 30, self.network.count - 1
                while time.monotonic() < end:
                    agents.pump()
                    seen = {u[1]: u[0] for u in reversed(agents.updates) if u[2] == node
                            and u[1] != node and (len(u) == 3 or u[3] == f"r{run}")}
                    if len(seen) >= need:
                        times[agents.kind].append(max(seen.values()) - begun)
                        break
                    time.sleep(POLL_S)
                else:
                    say(f"{agents.kind}: an update reached {len(seen)} of {need}")
        self.row("update of a label seen by all, median", "s", middle(times["serf"]),
                 middle(times["ppn"]), lambda s: s, "Serf")

    def deaths(self, name, strike, mend, bounds):
        """bounds: (function, words) for the first verdict and for everywhere."""
        first, everywhere = {"serf": [], "ppn": []}, {"serf": [], "ppn": []}
        for run in range(self.options.runs):
            victim = self.random.choice(self.network.nodes[1:])
            others = [node for node in self.network.nodes if node != victim]
            begun = time.monotonic()
            strike(victim)
            seen = self.wait(lambda a: a.all_out([victim], others), 60)
            for agents in self.kinds:
                told = [c[0] for c in agents.changes if c[2] == victim and c[3] in OUT
                        and c[1] != victim]
                if agents.kind in seen and told:
                    first[agents.kind].append(min(told) - begun)
                    everywhere[agents.kind].append(max(told) - begun)
                else:
                    say(f"{agents.kind}: {victim} was not out everywhere within 60 s")
            say(f"{name} {run + 1}/{self.options.runs}: serf {show(last(everywhere['serf']))} "
                f"ppn {show(last(everywhere['ppn']))} s")
            mend(victim)
            self.settle(f"{name} of {victim}")
        for which, times, (bound, words) in (("first", first, bounds[0]),
                                             ("everywhere", everywhere, bounds[1])):
            whole = len(times["ppn"]) == self.options.runs
            self.row(f"{name}: {which}, median", "s", middle(times["serf"]),
                     middle(times["ppn"]) if whole else None, bound, words)

    def kill(self):
        def strike(victim):
            for agents in self.kinds:
                agents.kill_daemon(victim)

        def mend(victim):
            for agents in self.kinds:
                agents.ended(victim)
                agents.start(victim)
        self.deaths("kill -9 of an agent", strike, mend,
                    ((None, None), (lambda s: 1.5, "1.5 s")))

    def cut(self):
        third = (lambda s: s / 3, "1/3 of Serf")
        self.deaths("host cut off", self.network.cut, lambda victim: self.network.heal(),
                    (third, third))

    def half(self):
        for seconds in self.options.partitions:
            left = self.network.nodes[:self.network.count // 2]
            right = self.network.nodes[self.network.count // 2:]
            begun = time.monotonic()
            self.network.halve(left)
            seen = self.wait(lambda a: a.all_out(left, right) and a.all_out(right, left), seconds)
            if seconds == self.options.partitions[0]:
                serf = seen.get("serf", begun + seconds) - begun
                self.row("half cut off: all out, seen from both halves", "s", serf,
                         seen["ppn"] - begun if "ppn" in seen else None, lambda s: s / 3,
                         "1/3 of Serf")
            self.rest(max(0.0, begun + seconds - time.monotonic()))
            begun = time.monotonic()
            self.network.heal()
            seen = self.settle(f"a partition of {seconds} s")
            words = 2 if seconds <= 120 else 15
            self.row(f"heal after a partition of {seconds} s", "s",
                     seen["serf"] - begun if "serf" in seen else None,
                     seen["ppn"] - begun if "ppn" in seen else None,
                     lambda s, words=words: words, f"{words} s")

    def starve(self):
        for low, high in ((1, 3), (3, 8)):
            seconds = self.options.seconds or 60
            begun, asleep, stops = time.monotonic(), {}, {}
            while time.monotonic() < begun + seconds:
                awake = [n for n in self.network.nodes if n not in asleep]
                while len(asleep) < max(1, self.network.count // 8):
                    node = self.random.choice(awake)
                    awake.remove(node)
                    now = time.monotonic()
                    asleep[node] = (now, now + self.random.uniform(low, high))
                    for agents in self.kinds:
                        agents.signal_daemon(node, signal.SIGSTOP)
                self.rest(0.1)
                for node in [n for n, (_, until) in asleep.items() if until <= time.monotonic()]:
                    self.wake(node, asleep, stops)
            for node in list(asleep):
                self.wake(node, asleep, stops)
            self.rest(10)
            share = judged_share(stops, self.network.nodes, begun, time.monotonic())
            self.row(f"false deaths, stops of {low}-{high} s, {seconds} s, "
                     f"{100 * share:.0f} % of node-time judged", "",
                     false_deaths(self.serf, stops), false_deaths(self.ppn, stops), lambda s: 0, "0")
            for agents in self.kinds:
                say(f"{agents.kind}: deaths counting those stopped: {len(deaths(agents, {}))}")
                for when, observer, subject in deaths(agents, stops):
                    say(f"{agents.kind}: {observer}, {awake_for(stops, observer, when)}, gave up "
                        f"{subject}, {awake_for(stops, subject, when)}")
            self.settle("starvation")

    def wake(self, node, asleep, stops):
        for agents in self.kinds:
            agents.signal_daemon(node, signal.SIGCONT)
        stops.setdefault(node, []).append((asleep.pop(node)[0], time.monotonic()))

    def loss(self):
        seconds = self.options.seconds or 90
        for percent, limit in ((10, 0), (25, 0), (40, 4)):
            self.network.lose(percent)
            for part in range(seconds // 10):
                self.rest(10)
            self.row(f"false deaths, {percent} % loss, {seconds} s", "",
                     false_deaths(self.serf, {}), false_deaths(self.ppn, {}),
                     lambda s, limit=limit: limit, str(limit))
            self.network.heal()
            self.settle(f"{percent} % loss")


def deaths(agents, stops):
    """(when, by whom, of whom) of deaths told of nodes that ran: `stops` has for each node when it
    was stopped and woken. One death is one, however many tell it."""
    found, latest = [], {}
    for when, observer, subject, state in sorted(agents.changes, key=lambda change: change[0]):
        if state not in OUT or any(stop <= when <= wake + TOLD_LATE_S
                                   for stop, wake in stops.get(subject, [])):
            continue
        if when - latest.get(subject, -2 * REPEAT_S) > REPEAT_S:
            found.append((when, observer, subject))
        latest[subject] = when
    return found


def false_deaths(agents, stops):
    return len(deaths(agents, stops))


def awake_for(stops, node, when):
    """How long it had been awake, for people."""
    if any(stop <= when < wake for stop, wake in stops.get(node, [])):
        return "stopped"
    wakes = [wake for _, wake in stops.get(node, []) if wake <= when]
    return f"awake for {when - max(wakes):.1f} s" if wakes else "never stopped before"


def judged_share(stops, nodes, begun, ended):
    """Of all the time of all the nodes, how much of it a death told would have been a false one."""
    excused = 0.0
    for node in nodes:
        upto = begun
        for stop, wake in sorted(stops.get(node, [])):
            end = min(wake + TOLD_LATE_S, ended)
            excused += max(0.0, end - max(stop, upto))
            upto = max(upto, end)
    return 1 - excused / (len(nodes) * (ended - begun))


def holes(agents):
    nodes = agents.network.nodes
    found = [f"{o}->{s}:{agents.views.get(o, {}).get(s)}" for o in nodes for s in nodes
             if o != s and agents.views.get(o, {}).get(s) != "alive"]
    return ", ".join(found[:6]) + (f" and {len(found) - 6} more" if len(found) > 6 else "")


def middle(values):
    return statistics.median(values) if values else None


def last(values):
    return values[-1] if values else None


def show(value):
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def table(rows):
    width = max(len(row["row"]) for row in rows)
    print(f"{'':{width}}  {'SERF':>8} {'PPN':>8} {'':4} {'RATIO':>6}  BOUND")
    for row in rows:
        verdict = {True: "holds", False: "MISSED", None: ""}[row["holds"]]
        print(f"{row['row']:{width}}  {show(row['serf']):>8} {show(row['ppn']):>8} "
              f"{row['unit']:4} {show(row['ratio']):>6}  {row['bound'] or ''} {verdict}".rstrip())


def options():
    parser = argparse.ArgumentParser(prog="tools/bench gossip", usage=__doc__, add_help=False)
    parser.add_argument("--agents", type=int, default=16)
    parser.add_argument("--mesh", choices=("plain", "userspace", "kernel"), default="plain")
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--partitions", default="60,120")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bin", default=os.environ.get("PPN_BIN", ""))
    parser.add_argument("--json")
    chosen = parser.parse_args()
    chosen.rows = chosen.rows.split(",")
    chosen.partitions = [int(part) for part in chosen.partitions.split(",")]
    if not set(chosen.rows) <= set(ROWS) or not 2 <= chosen.agents <= 64 or chosen.runs < 1:
        parser.error("rows are " + " ".join(ROWS) + "; agents 2 to 64; runs at least 1")
    return chosen


def main():
    chosen = options()
    missing = gossip_agents.present(chosen.bin)
    if missing:
        say(missing)
        return 3
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    network = Network(f"bench-{os.getpid()}", chosen.agents, chosen.mesh)
    with tempfile.TemporaryDirectory() as directory:
        serf = Serf(network, os.path.join(directory, "serf"))
        ppn = Ppn(network, os.path.join(directory, "ppn"), chosen.bin)
        bench = Bench(chosen, network, serf, ppn)
        try:
            say(f"{chosen.agents} agents of each kind, PPN's mesh {chosen.mesh}")
            network.up()
            bench.join()
            for name in ROWS[1:]:
                if name in chosen.rows:
                    say(f"row {name}")
                    getattr(bench, name)()
        finally:
            ppn.stop()
            serf.stop()
            network.down()
    table(bench.rows)
    result = {"schema": 1, "bench": "gossip", "agents": chosen.agents, "mesh": chosen.mesh,
              "runs": chosen.runs, "seed": chosen.seed, "rows": bench.rows}
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    else:
        print(json.dumps(result))
    return 1 if any(row["holds"] is False for row in bench.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
