"""A project with a small web service, a lab whose hosts are enrolled in it, and commands that are measured there."""
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEBARK = os.path.join(ROOT, "target", "release", "debark")

PROJECT = """\
packages:
  shop:
    build:
      maintainer: Shop <shop@example.org>
      description: A small web service
      architecture: all
      depends: [perl-base]
      compression: gzip
      files:
        - {src: bin/shop, dst: /usr/bin/shop, mode: "0755"}
        - {src: release, dst: /usr/share/shop/release}
        - {src: ballast, dst: /usr/share/shop/ballast}
        - {src: packaging/shop.conf, dst: /etc/shop/shop.conf, type: config}
      units: [packaging/shop.service]
store: .debark/store
environments:
  prod: {inventory: hosts, allow: [alice@example.org]}
deploy:
  serial: [100%]
  keep: 4
  checks:
    - {unit: shop.service}
    - {http: "http://127.0.0.1:8080/health", within: 20s, interval: 50ms}
"""


class Shop:
    """The project, and a lab of so many hosts."""

    def __init__(self, program, hosts):
        self.program, self.lab = program, f"bench-{os.getpid()}"
        labs = os.environ.get("DEBARK_LAB_DIR", "/var/lib/debark-lab")
        self.config = os.path.join(labs, "labs", self.lab, "ssh_config")
        self.hosts = [f"h{number}" for number in range(1, hosts + 1)]
        self.home = tempfile.mkdtemp(prefix="debark-bench-")
        self.project = os.path.join(self.home, "shop")
        self.store = os.path.join(self.project, ".debark", "store")
        self.env = dict(os.environ, HOME=self.home, DEBARK_KEY=os.path.join(self.home, "alice"),
                        DEBARK_BUILD_KEY=os.path.join(self.home, "build.asc"))

    def run(self, argv, **more):
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, **more)
        if done.returncode:
            sys.exit(f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def inside(self, argv):
        return self.run([self.program, "lab", "exec", "--name", self.lab, "--", "env", "-C", self.project, *argv])

    def debark(self, *argv):
        return self.inside([self.program, *argv])

    def everywhere(self, command):
        """The same shell line for all hosts at once; HOST is each one's name."""
        lines = [command.replace("SSH", f"ssh -F {self.config}").replace("SCP", f"scp -q -F {self.config}").replace("HOST", host)
                 for host in self.hosts]
        self.inside(["sh", "-c", "; ".join(f"({line}) & p{i}=$!" for i, line in enumerate(lines)) + "; "
                     + "; ".join(f"wait $p{i} || exit 1" for i in range(len(lines)))])

    def set_up(self):
        self.run([self.program, "lab", "up", str(len(self.hosts)), "--name", self.lab])
        shutil.copytree(os.path.join(ROOT, "playbooks", "demo", "shop"), self.project)
        os.makedirs(os.path.join(self.project, ".debark"))
        write = lambda name, text: open(os.path.join(self.project, name), "w").write(text)
        write("debark.yml", PROJECT)
        write(".gitignore", "/.debark/store\n/.debark/ledger.git\n/dist\n/hosts\n")
        write("hosts", self.run([self.program, "lab", "inventory", "--name", self.lab]))
        self.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", os.path.join(self.home, "alice")])
        write(".debark/signers", "alice@example.org " + open(os.path.join(self.home, "alice.pub")).read())
        self.git("init", "-q", "-b", "main")
        self.debark("keys", "new", self.env["DEBARK_BUILD_KEY"], "--user", "Builds <b@example.org>", "--no-passphrase")
        self.debark("enroll", "--env", "prod")

    def git(self, *argv):
        self.run(["git", "-C", self.project, "-c", "user.name=A", "-c", "user.email=a@example.org", *argv])

    def publish(self, version, ballast):
        with open(os.path.join(self.project, "ballast"), "wb") as out:
            out.write(os.urandom(ballast))
        with open(os.path.join(self.project, "release"), "w") as out:
            out.write(f"version = {version}\nhealthy = yes\n")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", version)
        self.debark("build", "shop", "--version", version)
        path = os.path.join(self.project, "dist", f"shop_{version}_all.deb")
        self.debark("publish", path)
        return path

    def close(self):
        subprocess.run([self.program, "lab", "down", "--name", self.lab], capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)


def p95(values):
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


def table(what, rows):
    """`rows`: a name and measured seconds each."""
    print(f"| {what} | median | p95 |\n|---|---|---|")
    for name, values in rows:
        print(f"| {name} | {statistics.median(values):.2f} s | {p95(values):.2f} s |")


def verdict(what, value, most):
    print(f"{what}: {value:.2f}, at most {most} wanted: {'yes' if value <= most else 'NO'}\n", flush=True)
