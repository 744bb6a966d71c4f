"""What a run of ansible-core came to, one JSON object per line: the expected results of the language tests."""

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: transcript
    type: stdout
    short_description: one JSON object per result
    description: Writes each task's result per host.
"""

VOLATILE = {"start", "end", "delta", "exception", "invocation", "warnings", "deprecations", "diff"}
SHOWN = {"debug", "assert", "fail"}


def clean(value):
    if isinstance(value, dict):
        gone = VOLATILE if "changed" in value else set()
        return {str(k): clean(v) for k, v in value.items() if k not in gone and not str(k).startswith("_ansible")}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "transcript"

    def __init__(self):
        super().__init__()
        self.out = open(os.environ["TRANSCRIPT"], "w", encoding="utf-8")

    def line(self, **entry):
        self.out.write(json.dumps(entry, sort_keys=True) + "\n")
        self.out.flush()

    def emit(self, result, status, item=False):
        data = result._result
        action = result._task.action.split(".")[-1]
        if status == "ok" and (data.get("changed") or False):
            status = "changed"
        entry = {"host": result._host.get_name(), "task": result._task.name or action, "status": status}
        if item:
            label = data.get("_ansible_item_label", data.get("item"))
            entry["item"] = "" if label is None else str(label)
        if action in SHOWN and status != "skipped":
            entry["result"] = {k: v for k, v in clean(data).items() if k not in ("changed", "failed", "item")}
            if "results" in entry["result"]:
                del entry["result"]
        entry["action"] = action
        self.line(**entry)

    def v2_runner_on_ok(self, result):
        self.emit(result, "ok")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.emit(result, "ignored" if ignore_errors else "failed")

    def v2_runner_on_skipped(self, result):
        self.emit(result, "skipped")

    def v2_runner_on_unreachable(self, result):
        self.emit(result, "unreachable")

    def v2_runner_item_on_ok(self, result):
        self.emit(result, "ok", True)

    def v2_runner_item_on_failed(self, result):
        self.emit(result, "failed", True)

    def v2_runner_item_on_skipped(self, result):
        self.emit(result, "skipped", True)
