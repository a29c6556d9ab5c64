"""Which changes replace pods, and which arrive in those that run."""

import copy
import tempfile
from pathlib import Path

import yaml

from chart import CHART, Failed, Renderings, helm

BASE = {"config": {"agents": {"a": {"model": "m"}}, "limits": {"run_timeout": "10m"}, "telemetry": {"logs": {"format": "json"}}}}
# What changes, and whether that replaces pods: with `configReload` of `hot`, and of `rollout`.
CHANGES = [
    ({"config": {"agents": {"b": {"model": "m"}}}}, False, True),
    ({"config": {"limits": {"max_concurrent_runs": 5}}}, False, True),
    ({"config": {"telemetry": {"logs": {"filter": "debug"}}}}, False, True),
    ({"configFiles": {"support.md": "Be short."}}, False, True),
    ({"config": {"telemetry": {"logs": {"format": "pretty"}}}}, True, True),
    ({"config": {"telemetry": {"sampling": 0.5}}}, True, True),
    ({"config": {"limits": {"max_request_bytes": "1MiB"}}}, True, True),
    ({"config": {"server": {"max_connection_age": "5m"}}}, True, True),
    ({"containerPorts": {"grpc": 8443}}, True, True),
    ({"digestKey": {"existingSecret": "digests"}}, True, True),
    # The service takes a new time to drain at once; that of the pod needs a new one.
    ({"config": {"server": {"drain_timeout": "20m"}}}, True, True),
    ({"commonLabels": {"team": "agents"}}, True, True),
    ({"replicaCount": 5}, False, False),
]


def replaced(_: Renderings) -> str:
    problems = []
    for number, mode in enumerate(["hot", "rollout"], 1):
        base = BASE | {"configReload": mode}
        before = template(base)
        for change in CHANGES:
            if (template(joined(base, change[0])) != before) != change[number]:
                problems.append(f"{mode}: {change[0]}: pods are {'not ' if change[number] else ''}replaced")
    if problems:
        raise Failed(problems)
    return f"{len(CHANGES)} changes, hot and rolled out"


def template(values: dict) -> dict:
    """The pod's template: a Deployment replaces its pods when it changes."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        told = helm("template", "demo", str(CHART), "--show-only", "templates/deployment.yaml", "--values", str(Path(file.name)))
    if told.returncode:
        raise Failed([told.stderr])
    return yaml.safe_load(told.stdout)["spec"]["template"]


def joined(base: dict, change: dict) -> dict:
    result = copy.deepcopy(base)
    for key, value in change.items():
        result[key] = joined(result.get(key) or {}, value) if isinstance(value, dict) else value
    return result
