"""Lab hosts, and commands that are measured among them."""
import json
import os
import subprocess
import sys


class Lab:
    """A lab that is up, and a process in its network that runs and measures."""

    def __init__(self, debark, name, hosts, directory, *flags):
        self.debark, self.name, self.directory = debark, name, directory
        subprocess.run([debark, "lab", "up", str(hosts), "--name", name, *flags], check=True, stdout=sys.stderr)
        listing = self._lab("inventory", "--json")
        self.hosts = json.loads(listing)["_meta"]["hostvars"]
        self.config = os.path.join(os.path.dirname(self.hosts["h1"]["ansible_ssh_private_key_file"]), "ssh_config")
        runner = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runner.py")
        argv = [debark, "lab", "exec", "--name", name, "--", sys.executable, runner]
        self.runner = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _lab(self, command, *words):
        argv = [self.debark, "lab", command, "--name", self.name, *words]
        return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout

    def run(self, argv, environment=None, memory=False):
        """Runs a command: its measure, and `output`."""
        path = os.path.join(self.directory, f"{self.name}.out")
        order = {"argv": argv, "environment": environment or {}, "memory": memory, "output": path, "cwd": self.directory}
        self.runner.stdin.write(json.dumps(order) + "\n")
        self.runner.stdin.flush()
        answer = json.loads(self.runner.stdout.readline())
        with open(path, encoding="utf-8", errors="replace") as output:
            answer["output"] = output.read()
        return answer

    def ssh(self, count=1, place=None):
        """The floor: `ssh host true`, on that many hosts at once."""
        to = ["-o", f"HostName={place[0]}", "-p", place[1]] if place else []
        one = lambda n: " ".join(["ssh", "-F", self.config, *to, f"h{n}", "true"])
        if count == 1:
            return self.run(one(1).split())
        return self.run(["sh", "-c", " & ".join(one(n) for n in range(1, count + 1)) + " & wait"])

    def inventories(self, count, place=None, kex=None):
        """Paths of an INI inventory of the first hosts and of the same for pyinfra."""
        ini, pyinfra = [], []
        for number in range(1, count + 1):
            known = dict(self.hosts[f"h{number}"])
            if place:
                known["ansible_host"], known["ansible_port"] = place
            if kex:
                known["ansible_ssh_common_args"] += f" -o KexAlgorithms={kex}"
            ini.append(f"h{number} " + " ".join(f"{name}='{value}'" for name, value in known.items()))
            data = {
                "ssh_hostname": known["ansible_host"],
                "ssh_port": int(known.get("ansible_port", 22)),
                "ssh_user": known["ansible_user"],
                "ssh_key": known["ansible_ssh_private_key_file"],
                "ssh_known_hosts_file": os.path.join(os.path.dirname(self.config), "known_hosts"),
                "ssh_strict_host_key_checking": "yes",
            }
            pyinfra.append((f"h{number}", data))
        stem = os.path.join(self.directory, f"{self.name}-{count}{'-' + place[1] if place else ''}{'-' + kex if kex else ''}")
        for end, text in ((".ini", "\n".join(ini) + "\n"), (".py", f"hosts = {pyinfra!r}\n")):
            with open(stem + end, "w", encoding="utf-8") as out:
                out.write(text)
        return stem + ".ini", stem + ".py"

    def delayed(self, milliseconds):
        """Address and port that lead to h1 with that round trip."""
        host, port = self._lab("delay", "h1", str(milliseconds)).strip().rsplit(":", 1)
        return host, port

    def reset(self, *hosts):
        self._lab("reset", *hosts)

    def exec(self, host, *words):
        return self._lab("ssh", host, *words)

    def down(self):
        self.runner.stdin.close()
        self.runner.wait()
        subprocess.run([self.debark, "lab", "down", "--name", self.name], check=False)
