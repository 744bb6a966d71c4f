"""What is run: the same work as an Ansible playbook and as a pyinfra deploy, and large inputs for loading."""
import json
import os

PACKAGES = ["less", "tree", "bc", "jq", "file", "lsof", "psmisc", "rsync", "unzip", "zip"]
SERVICES = ["cron", "ssh", "dbus", "systemd-logind", "systemd-journald"]
COMMANDS = ["uname -a", "cat /etc/hostname", "id", "ls /", "df"]
# Both Jinja2: what differs is where the variables come from.
TEMPLATE = "{{ ansible_distribution }} {{ item_count }}\n{% for n in range(10) %}\nline {{ n }}\n{% endfor %}\n"


def write(directory):
    """Writes all files; paths by name."""
    for sub in ("files", "templates"):
        os.makedirs(os.path.join(directory, sub), exist_ok=True)
    for n in range(20):
        _put(directory, f"files/file{n}", f"file {n}\n" * 50)
    for n in range(15):
        _put(directory, f"templates/t{n}.j2", TEMPLATE)
    play = [{"hosts": "all", "gather_facts": True, "vars": {"item_count": 3}, "tasks": _tasks()}]
    commands = [{"hosts": "all", "gather_facts": False, "tasks": [{"command": line} for line in COMMANDS]}]
    return {
        "playbook": _put(directory, "site.yml", json.dumps(play, indent=1)),
        "commands": _put(directory, "commands.yml", json.dumps(commands, indent=1)),
        "deploy": _put(directory, "site.py", _DEPLOY),
        "deploy_commands": _put(directory, "commands.py", _DEPLOY_COMMANDS.format(COMMANDS)),
        "hosts": _put(directory, "hosts.ini", _inventory()),
        "large": _put(directory, "large.yml", _large()),
    }


def _put(directory, name, text):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    return path


def _tasks():
    """100 tasks: 10 apt, 20 directories, 20 copies, 15 templates, 10 lineinfile, 5 groups and 5 users, 10 services,
    5 cron files."""
    tasks = [{"apt": {"name": name}} for name in PACKAGES]
    tasks += [{"file": {"path": f"/srv/bench/{n}", "state": "directory", "mode": "0755"}} for n in range(20)]
    tasks += [{"copy": {"src": f"file{n}", "dest": f"/srv/bench/{n}/file", "mode": "0644"}} for n in range(20)]
    tasks += [{"template": {"src": f"t{n}.j2", "dest": f"/srv/bench/{n}/conf", "mode": "0644"}} for n in range(15)]
    line = {"path": "/srv/bench/0/lines", "create": True, "mode": "0644"}
    tasks += [{"lineinfile": {**line, "regexp": f"^key{n}=", "line": f"key{n}=value"}} for n in range(10)]
    tasks += [{"group": {"name": f"bench{n}"}} for n in range(5)]
    tasks += [{"user": {"name": f"bench{n}", "group": f"bench{n}", "shell": "/bin/sh"}} for n in range(5)]
    tasks += [{"service": {"name": SERVICES[n % 5], "state": "started"}} for n in range(10)]
    cron = {"user": "root", "minute": "0", "hour": "4", "job": "/bin/true"}
    tasks += [{"cron": {**cron, "name": f"b{n}", "cron_file": f"bench{n}"}} for n in range(5)]
    assert len(tasks) == 100
    return [{"name": f"task {number}", **task} for number, task in enumerate(tasks)]


# The same files, byte for byte, so that hosts which another tool has converged need no change.
_DEPLOY = f"""import io
from pyinfra import host
from pyinfra.facts.server import LinuxDistribution
from pyinfra.operations import apt, files, server, systemd

for name in {PACKAGES}:
    apt.packages(name=f"package {{name}}", packages=[name])
for n in range(20):
    files.directory(name=f"directory {{n}}", path=f"/srv/bench/{{n}}", mode="755")
for n in range(20):
    files.put(name=f"copy {{n}}", src=f"files/file{{n}}", dest=f"/srv/bench/{{n}}/file", mode="644")
name = host.get_fact(LinuxDistribution)["name"]
for n in range(15):
    files.template(name=f"template {{n}}", src=f"templates/t{{n}}.j2", dest=f"/srv/bench/{{n}}/conf", mode="644",
                   jinja_env_kwargs={{"trim_blocks": True}},
                   ansible_distribution=name, item_count=3)
for n in range(10):
    files.line(name=f"line {{n}}", path="/srv/bench/0/lines", line=f"^key{{n}}=.*", replace=f"key{{n}}=value")
for n in range(5):
    server.group(name=f"group {{n}}", group=f"bench{{n}}")
for n in range(5):
    server.user(name=f"user {{n}}", user=f"bench{{n}}", group=f"bench{{n}}", shell="/bin/sh")
for n in range(10):
    systemd.service(name=f"service {{n}}", service={SERVICES}[n % 5], running=True)
for n in range(5):
    text = f"#Ansible: b{{n}}\\n0 4 * * * root /bin/true\\n"
    files.put(name=f"cron {{n}}", src=io.StringIO(text), dest=f"/etc/cron.d/bench{{n}}")
"""

_DEPLOY_COMMANDS = """from pyinfra.operations import server

for number, line in enumerate({}):
    server.shell(name=f"command {{number}}", commands=[line])
"""


def _inventory():
    """10,000 hosts in 100 groups, four variables each."""
    lines = []
    for group in range(100):
        lines.append(f"[group{group}]")
        lines += [
            f'node{group:02}-{host:02}.example.org ansible_host=10.{group}.{host}.1 rack={host % 10} weight={host * 3} '
            f'role="app server"'
            for host in range(100)
        ]
        lines += [f"[group{group}:vars]", f"region=r{group % 7}", f"ntp=10.{group}.0.1"]
    lines.append("[site:children]")
    lines += [f"group{group}" for group in range(100)]
    return "\n".join(lines) + "\n"


def _large():
    """5,000 tasks of the kinds that playbooks have, written as people write them."""
    kinds = [
        "      ansible.builtin.copy:\n        content: 'value {{ item_count }} @'\n        dest: /srv/bench/@/file\n"
        '        mode: "0644"\n      when: item_count > 0\n',
        "      apt:\n        name: [less, 'tree', \"bc\"]\n        state: present\n      tags: [packages]\n",
        "      lineinfile:\n        path: /etc/bench.conf\n        regexp: '^key@='\n"
        "        line: 'key@={{ inventory_hostname }}'\n      register: result@\n",
        "      service: {name: cron, state: started}\n      notify: say it\n",
        "      command: echo @\n      changed_when: false\n      loop: [1, 2, 3]\n",
    ]
    tasks = [f"    - name: task {n}\n" + kinds[n % len(kinds)].replace("@", str(n)) for n in range(5000)]
    handler = "  handlers:\n    - name: say it\n      debug: {msg: changed}\n"
    return "- hosts: all\n  vars: {item_count: 3}\n  tasks:\n" + "".join(tasks) + handler
