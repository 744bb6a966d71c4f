"""Runs commands within a lab's network namespace and measures them: a JSON object per line in, one per line out.

In a process of its own, so that entering the namespace is not part of what is measured.
"""
import json
import os
import subprocess
import sys
import time


def children(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                for child in file.read().split():
                    found += [int(child), *children(int(child))]
    except OSError:
        pass  # It has ended.
    return found


def memory(pid):
    """PSS of a process in bytes; ssh itself costs every tool that uses it the same, and does not count."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            if file.read().strip() == "ssh":
                return 0
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    except OSError:
        return 0


def run(order):
    with open(order["output"], "w+b") as output:
        started = time.monotonic()
        process = subprocess.Popen(order["argv"], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   cwd=order["cwd"], env={**os.environ, **order["environment"]})
        peak = 0
        if order["memory"]:
            # WNOWAIT: it stays to be reaped, and to be measured, below.
            while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                peak = max(peak, sum(map(memory, [process.pid, *children(process.pid)])))
                time.sleep(0.05)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
    return {"seconds": seconds, "code": os.waitstatus_to_exitcode(status), "cpu": usage.ru_utime + usage.ru_stime,
            "memory": peak}


for text in sys.stdin:
    print(json.dumps(run(json.loads(text))), flush=True)
