"""The table of what was measured: as rows, as markdown, and within README.md."""
import os
import platform
import statistics
import sys
import time

from lines import KEX, NAMES

BEGIN, END = "<!-- speed: written by benches/peers --readme -->", "<!-- /speed -->"
ORDER = ("debark", "debark-kex", "pyinfra", "mitogen", "ansible")
# Lines of seconds, with what debark is held to, of the bare ssh beside it.
TIMES = {
    "noop-1": ("100 tasks, nothing to change, 1 host", "1.6 × ssh"),
    "noop-5": ("100 tasks, nothing to change, 5 hosts", "2 × ssh"),
    "delay": ("100 tasks, nothing to change, 50 ms round trip", "ssh + 0.1 s"),
    "many": ("5 commands on 50 hosts", "pyinfra"),
}


def machine():
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cores": os.cpu_count(), "processor": model, "kernel": platform.release(), "date": time.strftime("%Y-%m-%d")}


def median(samples, *keys):
    values = []
    for sample in samples:
        for key in keys:
            sample = sample.get(key) if isinstance(sample, dict) else None
        if sample is not None:
            values.append(sample)
    return statistics.median(values) if values else None


def rows(results):
    """A dictionary for each measure: line, tool, value and unit, number of samples, and the limit with its verdict."""
    of = lambda line, who: results["samples"].get(line, {}).get(who, [])
    found = []

    def row(line, title, who, value, unit, samples, limit=None, holds=None, **more):
        found.append({"line": line, "title": title, "tool": who, "value": value, "unit": unit, "samples": len(samples),
                      "limit": limit, "holds": holds, **more})

    for line, (title, limit) in TIMES.items():
        for who in ORDER:
            samples = of(line, who)
            if not samples:
                continue
            value, floor = median(samples, "run", "seconds"), median(samples, "ssh", "seconds")
            ratio = statistics.median(s["run"]["seconds"] / s["ssh"]["seconds"] for s in samples)
            delta = statistics.median(s["run"]["seconds"] - s["ssh"]["seconds"] for s in samples)
            holds = None
            if line in ("noop-1", "noop-5") and who == "debark":
                holds = ratio <= (1.6 if line == "noop-1" else 2)
            elif line == "delay" and who == "debark":
                holds = delta <= 0.1
            elif line == "many" and who.startswith("debark"):
                other = median(of(line, "pyinfra"), "run", "seconds")
                holds = other and value <= other
            row(line, title, who, value, "s", samples, limit if holds is not None else None, holds, ssh=floor, ratio=ratio,
                above_ssh=delta, cpu=median(samples, "run", "cpu"))
    for who in ORDER:
        samples = of("memory", who)
        if samples:
            value = median(samples, "run", "memory") / 1e6
            own = who.startswith("debark")
            row("memory", "5 commands on 50 hosts: memory of the controller without ssh", who, value, "MB", samples,
                "60 MB" if own else None, value <= 60 if own else None)
    samples = of("first", "debark")
    if samples:
        ratio = statistics.median(s["run"]["seconds"] / s["run"]["host_seconds"] for s in samples)
        row("first", "first apply of the 100 tasks, 1 host", "debark", median(samples, "run", "seconds"), "s", samples,
            "1.5 × the host's own work", ratio <= 1.5, ratio=ratio, host=median(samples, "run", "host_seconds"))
        for key, name, most in (("raw", "agent", 4), ("sent", "agent as sent", 1.5)):
            size = samples[-1]["run"].get(key)
            if size:
                row("agent", name, "debark", size / 1e6, "MB", samples[-1:], f"{most} MB", size <= most * 1e6)
    for line, key, title, limit in (
        ("cpu", "host_cpu", "CPU time of the agent for 100 tasks, nothing to change", 0.06),
        ("inventory", "seconds", "10,000 hosts of an INI inventory loaded", 0.5),
        ("compile", "seconds", "a playbook of 5,000 tasks compiled", 1),
    ):
        samples = of(line, "debark")
        if samples:
            value = median(samples, "run", key)
            row(line, title, "debark", value, "s", samples, f"{limit} s", value <= limit)
    return found


def number(value, unit):
    if unit == "MB":
        return f"{value:.0f} MB" if value >= 10 else f"{value:.2f} MB"
    return f"{value * 1000:.0f} ms" if value < 0.1 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def markdown(results):
    found = rows(results)
    get = lambda line, who: next((row for row in found if (row["line"], row["tool"]) == (line, who)), None)
    tools = ("debark", *ORDER[2:])
    table = ["| | bare `ssh host true` | " + " | ".join(NAMES[who] for who in tools) + " |", "|---" * (len(tools) + 2) + "|"]

    def cell(entry):
        if not entry:
            return "not measured"
        once = " (once)" if entry["samples"] == 1 and entry["line"] != "memory" else ""
        return number(entry["value"], entry["unit"]) + once

    for line, (title, _) in TIMES.items():
        floor = get(line, "debark") and get(line, "debark").get("ssh")
        table.append(f"| {title} | {number(floor, 's') if floor else '-'} | "
                     + " | ".join(cell(get(line, who)) for who in tools) + " |")
    table.append("| the same: memory of the controller without ssh | - | " + " | ".join(cell(get("memory", who)) for who in tools)
                 + " |")
    lines = table + ["", "| debark | measured | wanted | |", "|---|---|---|---|"]
    for row in found:
        if row["holds"] is None:
            continue
        value = number(row["value"], row["unit"])
        if row["line"] == "delay":
            value += f", ssh {row['above_ssh'] * 1000:+.0f} ms"
        elif "ssh" in row and row["ssh"]:
            value += f", {row['ratio']:.2f} × ssh"
        elif row["line"] == "first":
            value += f", {row['ratio']:.2f} × {number(row['host'], 's')}"
        title = row["title"] + (f" ({KEX})" if row["tool"] == "debark-kex" else "")
        lines.append(f"| {title} | {value} | at most {row['limit']} | {'yes' if row['holds'] else '**no**'} |")
    about, samples = results.get("machine", {}), [row["samples"] for row in found if row["tool"] == "debark" and "ratio" in row]
    peers = [row["samples"] for row in found if row["tool"] in ORDER[2:] and "ratio" in row]
    if samples:
        few = f", of peers {min(peers)}" if peers else ""
        lines += ["", f"Medians of at least {min(samples)} pairs{few} (a pair: one run, and one of bare ssh beside it); "
                  f"controller and hosts on the same {about.get('cores')} cores ({about.get('processor')}), "
                  f"{about.get('date')}."]
    return "\n".join(lines)


def write_readme(path, results):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if BEGIN not in text or END not in text:
        sys.exit(f"error: {path} has no place for the table\nhint: put {BEGIN} and {END} where it belongs")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    with open(path, "w", encoding="utf-8") as out:
        out.write(f"{before}{BEGIN}\n\n{markdown(results)}\n\n{END}{after}")
