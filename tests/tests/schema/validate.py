"""Validates YAML files against a JSON Schema with Python's jsonschema, reading YAML as Ansible does (PyYAML).

validate.py SCHEMA FILE...

One line per file: the file, a tab, and `ok` or the first thing that is wrong.
"""
import json
import sys

import jsonschema
import yaml


class Loader(yaml.SafeLoader):
    """Dates are text to Ansible's readers of playbooks; `!vault` and `!unsafe` are text."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: loader.construct_scalar(node))

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for path in sys.argv[2:]:
    with open(path, encoding="utf-8") as file:
        document = yaml.load(file, Loader)
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    print(path, "ok" if error is None else f"{error.json_path}: {error.message[:200]}", sep="\t")
