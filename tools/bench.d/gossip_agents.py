# SPDX-License-Identifier: ISC
"""The two kinds of agents that `tools/bench gossip` compares, and what each of them says.

Both are told by their own words: PPN by its stream of events, whose monotonic time stamps are the
machine's; Serf by its log, read every few milliseconds."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

OUT = ("dead", "unreachable", "left")
POLL_S = 0.005


def cpu_ns(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
            total += int(file.read().split()[0])
    return total


def pss_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


class Agents:
    """What both kinds share. views[observer][subject] is the state that the observer shows;
    changes is the list of (time, observer, subject, state) since the last forget()."""

    kind = ""

    def __init__(self, network, directory):
        self.network, self.directory = network, directory
        self.processes, self.views, self.changes = {}, {}, []
        os.makedirs(directory, exist_ok=True)

    def launch(self, node, command, log):
        with open(log, "ab") as file:
            self.processes[node] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True)

    def pid(self, node):
        return self.processes[node].pid

    def daemon(self, node):
        """nsenter, unshare, sh and env each became the next program: it is the child itself."""
        return self.pid(node)

    def kill_daemon(self, node):
        os.kill(self.daemon(node), signal.SIGKILL)

    def signal_daemon(self, node, number):
        os.kill(self.daemon(node), number)

    def ended(self, node):
        self.processes.pop(node).wait()
        self.views.pop(node, None)

    def told(self, when, observer, subject, state):
        view = self.views.setdefault(observer, {})
        if view.get(subject) != state:
            view[subject] = state
            self.changes.append((when, observer, subject, state))

    def forget(self):
        self.changes = []

    def all_alive(self):
        nodes = self.network.nodes
        return all(self.views.get(o, {}).get(s) == "alive" for o in nodes for s in nodes if o != s)

    def all_out(self, subjects, observers):
        return all(self.views.get(o, {}).get(s) in OUT for o in observers for s in subjects)

    def stop(self):
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        self.processes = {}


class Serf(Agents):
    kind = "serf"
    states = {"Join": "alive", "Failed": "dead", "Leave": "left", "Reap": "dead"}
    line = re.compile(r"EventMember(Join|Failed|Leave|Reap|Update): (\S+)")

    def __init__(self, network, directory):
        super().__init__(network, directory)
        self.offsets = {}
        self.updates = []

    def start(self, node):
        log = os.path.join(self.directory, node + ".log")
        self.offsets[node] = os.path.getsize(log) if os.path.exists(log) else 0
        command = ["nsenter", "--net=" + self.network.namespace(node), "serf", "agent",
                   "-node=" + node, "-bind=" + self.network.address(node), "-profile=lan",
                   "-log-level=info"]
        if node != "n1":
            command.append("-retry-join=" + self.network.address("n1"))
        elif self.processes:
            command.append("-retry-join=" + self.network.address("n2"))
        self.launch(node, command, log)

    def start_all(self):
        self.start("n1")
        time.sleep(0.5)
        for node in self.network.nodes[1:]:
            self.start(node)

    def pump(self):
        for node in list(self.processes):
            with open(os.path.join(self.directory, node + ".log"), "rb") as file:
                file.seek(self.offsets[node])
                data = file.read()
            end = data.rfind(b"\n") + 1
            self.offsets[node] += end
            now = time.monotonic()
            for what, subject in self.line.findall(data[:end].decode(errors="replace")):
                if what == "Update":
                    self.updates.append((now, node, subject))
                else:
                    self.told(now, node, subject, self.states[what])

    def watch(self, _on):
        pass

    def update(self, node, value):
        subprocess.run(["nsenter", "--net=" + self.network.namespace(node), "serf", "tags",
                        "-set", f"bench={value}"], check=True, stdout=subprocess.DEVNULL)


class Ppn(Agents):
    kind = "ppn"

    def __init__(self, network, directory, binaries):
        super().__init__(network, directory)
        self.bin, self.token, self.streams, self.updates = binaries, None, {}, []

    def socket_path(self, node):
        return os.path.join(self.network.directory, "nodes", node, "state", "ppn.sock")

    def ppn(self, node, *arguments):
        return subprocess.run([os.path.join(self.bin, "ppn"), "--socket", self.socket_path(node),
                               *arguments], capture_output=True, text=True, timeout=20)

    def start(self, node, *how):
        own = os.path.join(self.network.directory, "nodes", node)
        plain = self.network.mesh == "plain"
        command = ["nsenter", "--net=" + self.network.namespace(node), "unshare", "--mount", "sh",
                   "-c", 'mount --bind "$1" /run/wireguard && shift && exec "$@"', "bench",
                   os.path.join(own, "wireguard"), "env", "PPN_LAB=1",
                   "PPN_LAB_NAME=" + self.network.name, "PPN_LAB_NODE=" + node,
                   "PPN_LAB_DIR=" + self.network.directory, "PPN_LAB_KVM=none",
                   os.path.join(self.bin, "ppn-node"), "--name", node,
                   "--state-dir", os.path.join(own, "state"), "--socket", self.socket_path(node),
                   "--interface", "eth0" if plain else "ppn0", "--mesh", self.network.mesh,
                   "--advertise", self.network.address(node), *how]
        self.launch(node, command, os.path.join(own, "log"))

    def start_all(self):
        self.start("n1", "--found", "bench")
        deadline = time.monotonic() + 20
        while self.token is None and time.monotonic() < deadline:
            time.sleep(0.1)
            # The socket is there before the network is: asked until it has a token to give.
            answer = self.ppn("n1", "invite", "--uses", str(self.network.count), "--json")
            if answer.returncode == 0:
                self.token = json.loads(answer.stdout)["token"]
        if self.token is None:
            raise RuntimeError("n1 gives no invite: " + answer.stderr.strip())
        for node in self.network.nodes[1:]:
            self.start(node, "--token", self.token)

    def payload(self):
        """What the daemons say that they sent, summed."""
        total = {}
        for node in self.processes:
            status = json.loads(self.ppn(node, "status", "--json").stdout)
            for key, value in status["gossip"].items():
                total[key] = total.get(key, 0) + value
        return total

    def watch(self, on):
        """Opens or closes the streams of events; closed while cost is measured."""
        if not on:
            for stream, _ in self.streams.values():
                stream.close()
            self.streams = {}
            return
        for node in self.processes:
            if node not in self.streams:
                self._open(node)

    def _open(self, node):
        stream = socket.socket(socket.AF_UNIX)
        try:
            stream.connect(self.socket_path(node))
        except OSError:
            stream.close()
            return
        stream.sendall(b"GET /v1/events HTTP/1.1\r\nHost: ppn\r\n\r\n")
        stream.setblocking(False)
        self.streams[node] = (stream, _Chunks())

    def pump(self):
        for node in self.processes:
            if node not in self.streams:
                self._open(node)
        for node, (stream, chunks) in list(self.streams.items()):
            try:
                while data := stream.recv(1 << 16):
                    for line in chunks.lines(data):
                        self._event(node, json.loads(line))
                closed = True
            except BlockingIOError:
                closed = False
            except OSError:
                closed = True
            if closed:
                stream.close()
                del self.streams[node]

    def _event(self, observer, event):
        detail = event.get("detail", {})
        if not event["type"].startswith("node-") or "state" not in detail:
            return
        when = event["time_monotonic_ns"] / 1e9
        self.told(when, observer, event["node"], detail["state"])
        value = detail.get("labels", {}).get("bench")
        if value is not None:
            self.updates.append((when, observer, event["node"], value))

    def ended(self, node):
        super().ended(node)
        if node in self.streams:
            self.streams.pop(node)[0].close()

    def update(self, node, value):
        answer = self.ppn(node, "set", f"bench={value}")
        if answer.returncode != 0:
            raise RuntimeError(answer.stderr)


class _Chunks:
    """HTTP's chunked answer as lines of text (RFC 9112, 7.1)."""

    def __init__(self):
        self.buffer, self.text, self.head = b"", b"", True

    def lines(self, data):
        self.buffer += data
        if self.head:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return []
            self.buffer, self.head = self.buffer[end + 4:], False
        while (end := self.buffer.find(b"\r\n")) >= 0:
            size = int(self.buffer[:end] or b"0", 16)
            if len(self.buffer) < end + 2 + size + 2:
                break
            self.text += self.buffer[end + 2:end + 2 + size]
            self.buffer = self.buffer[end + 2 + size + 2:]
        *whole, self.text = self.text.split(b"\n")
        return [line for line in whole if line]


def present(binaries):
    """Why the bench cannot run here; None if it can."""
    if shutil.which("serf") is None:
        return "serf is not installed; run: tools/install-packages bench"
    if not os.access(os.path.join(binaries, "ppn-node"), os.X_OK):
        return f"no ppn-node in {binaries}; build it: cmake --preset product && " \
               "cmake --build --preset product"
    return None
