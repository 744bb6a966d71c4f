"""What is measured: for each line of the table who runs what, and how it is known that it did its work."""
import glob
import gzip
import json
import os
import re

# What pyinfra (paramiko) agrees on with sshd: OpenSSH's own first choice costs 60 ms of CPU more, see docs/benchmarks.md.
KEX = "curve25519-sha256"
PEERS = ("pyinfra", "mitogen", "ansible")
NAMES = {"ssh": "bare `ssh`", "debark": "debark", "debark-kex": f"debark, {KEX}", "pyinfra": "pyinfra",
         "mitogen": "Mitogen for Ansible", "ansible": "ansible-core, pipelining"}


class Failed(Exception):
    """A run that did not do its work cannot be measured."""


class Bench:
    """Labs, inputs and tools of a session, made when they are first needed."""

    def __init__(self, debark, venv, directory, files, make_lab):
        self.debark, self.venv, self.directory, self.files = debark, venv, directory, files
        self._make_lab, self._labs, self._place = make_lab, {}, None

    def lab(self, name):
        if name not in self._labs:
            self._labs[name] = self._make_lab(name)
            if name == "real":
                # Who is measured later finds the hosts as declared; agents are in place.
                inventory, _ = self._labs[name].inventories(len(self._labs[name].hosts))
                self.check(self._labs[name].run([self.debark, "run", "-i", inventory, self.files["playbook"]]))
        return self._labs[name]

    def down(self):
        for lab in self._labs.values():
            lab.down()

    def place(self):
        """Where h1 answers with a round trip of 50 ms."""
        self._place = self._place or self.lab("real").delayed(50)
        return self._place

    @staticmethod
    def check(run):
        if run["code"]:
            raise Failed(f"ended with {run['code']}:\n{run.pop('output')[-1500:]}")
        return run

    def tool(self, lab, who, what, count, place=None, memory=False):
        """One run of a tool: `what` is `playbook` or `commands`."""
        inventory, python = lab.inventories(count, place, KEX if who == "debark-kex" else None)
        environment = {}
        if who.startswith("debark"):
            argv = [self.debark, "run", "-i", inventory, self.files[what]]
        elif who == "pyinfra":
            deploy = self.files["deploy" if what == "playbook" else "deploy_commands"]
            argv = [os.path.join(self.venv, "bin", "pyinfra"), "-y", "--parallel", "50", python, deploy]
        else:
            argv = [os.path.join(self.venv, "bin", "ansible-playbook"), "-f", "50", "-i", inventory, self.files[what]]
            environment = self.ansible(who == "mitogen")
        run = self.check(lab.run(argv, environment, memory))
        if what == "playbook":
            run["changed"] = changed(who, run["output"])
        return run

    def ansible(self, mitogen):
        # A control socket of another name each time: every run begins with fresh connections.
        count = len(os.listdir(self.directory))
        sockets = os.path.join(self.directory, f"cp{count}")
        os.makedirs(sockets)
        config = os.path.join(self.directory, "ansible.cfg")
        open(config, "w", encoding="utf-8").close()
        environment = {"ANSIBLE_PIPELINING": "1", "ANSIBLE_CONFIG": config, "ANSIBLE_HOME": self.directory,
                       "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=10s",
                       "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets}
        if mitogen:
            plugins = glob.glob(os.path.join(self.venv, "lib", "python3*", "site-packages", "ansible_mitogen", "plugins",
                                             "strategy"))
            environment.update(ANSIBLE_STRATEGY="mitogen_linear", ANSIBLE_STRATEGY_PLUGINS=plugins[0])
        return environment


def changed(who, output):
    """How many changes a tool reports, from its own summary."""
    if who == "pyinfra":
        total = re.search(r"Grand total +\d+ +(\d+|-)", output)
        return -1 if not total else 0 if total[1] == "-" else int(total[1])
    counts = re.findall(r"changed[= ] *(\d+)", output)
    return sum(map(int, counts)) if counts else -1


def events(run):
    return [json.loads(line) for line in run["output"].splitlines() if line.startswith("{")]


def noop(bench, who, count, place=None):
    lab = bench.lab("real")
    if who == "ssh":
        return bench.check(lab.ssh(count, place))
    return bench.tool(lab, who, "playbook", count, place)


def many(bench, who, memory):
    lab = bench.lab("many")
    if who == "ssh":
        return bench.check(lab.ssh(50))
    return bench.tool(lab, who, "commands", 50, memory=memory)


def first(bench, who):
    """A host with a fresh disk: everything is to be done. Beside it what of that was the host's own work."""
    lab = bench.lab("real")
    if who == "ssh":
        return bench.check(lab.ssh())
    lab.reset("h1")
    inventory, _ = lab.inventories(1)
    run = bench.check(lab.run([bench.debark, "run", "--json", "-i", inventory, bench.files["playbook"]]))
    told = {event["event"]: event for event in events(run)}
    run.update(host_seconds=told["host_done"]["seconds"], host_cpu=told["host_done"]["cpu_seconds"],
               sent=told.get("uploading", {}).get("bytes"))
    run["raw"] = int(lab.exec("h1", "stat", "-c", "%s", "/var/cache/debark/agent-*").split()[0])
    return run


def host_cpu(bench, who):
    lab = bench.lab("real")
    inventory, _ = lab.inventories(1)
    run = bench.check(lab.run([bench.debark, "run", "--json", "-i", inventory, bench.files["playbook"]]))
    done = [event for event in events(run) if event["event"] == "host_done"][0]
    run.update(host_seconds=done["seconds"], host_cpu=done["cpu_seconds"])
    return run


def local(*words):
    """A command that contacts nobody; words in braces are the names of inputs."""

    def run(bench, who):
        argv = [bench.debark, *(word.format(**bench.files) for word in words)]
        return bench.check(bench.lab("real").run(argv))

    return run


class Line:
    """A line of the table: who is measured, and how. `paired`: next to bare ssh; `once`: what does not vary; `rounds`:
    one pair of all such lines before the second of any. `seconds` is a guess, for the budget."""

    def __init__(self, key, who, run, paired=True, once=False, rounds=False, seconds=None):
        self.key, self.who, self.run = key, who, run
        self.paired, self.once, self.rounds, self.seconds = paired, once, rounds, seconds or {}


MANY = ("debark", "debark-kex", *PEERS)
# Debark's own lines first, then what peers need for the same, cheapest first.
LINES = [
    Line("noop-1", ("debark",), lambda b, who: noop(b, who, 1)),
    Line("noop-5", ("debark",), lambda b, who: noop(b, who, 5)),
    Line("delay", ("debark",), lambda b, who: noop(b, who, 1, b.place())),
    Line("cpu", ("debark",), host_cpu, paired=False),
    Line("inventory", ("debark",), local("inventory", "-i", "{hosts}", "--host", "node42-07.example.org"), paired=False),
    Line("compile", ("debark",), local("run", "-i", "localhost,", "{large}", "--syntax-check"), paired=False),
    Line("first", ("debark",), first, seconds={"debark": 15}),
    Line("many", MANY[:3], lambda b, who: many(b, who, False), seconds={"pyinfra": 8, "debark": 8, "debark-kex": 8}),
    Line("memory", MANY, lambda b, who: many(b, who, True), paired=False, once=True, seconds={"mitogen": 60, "ansible": 60}),
    Line("noop-1", PEERS, lambda b, who: noop(b, who, 1), rounds=True, seconds={"pyinfra": 16, "mitogen": 26, "ansible": 58}),
    Line("many", PEERS[1:], lambda b, who: many(b, who, False), rounds=True, seconds={"mitogen": 60, "ansible": 60}),
    Line("noop-5", PEERS, lambda b, who: noop(b, who, 5), rounds=True, seconds={"pyinfra": 50, "mitogen": 40, "ansible": 160}),
    Line("delay", PEERS, lambda b, who: noop(b, who, 1, b.place()), rounds=True,
         seconds={"pyinfra": 70, "mitogen": 40, "ansible": 140}),
]
