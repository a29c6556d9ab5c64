"""What is rendered holds against Kubernetes' schemas, against Pod Security "restricted", and against checkov."""

import json
import re
from pathlib import Path

import yaml

from chart import HERE, Failed, Renderings, pods, run, tool


def validate(renderings: Renderings) -> str:
    """Strictly, for several versions of Kubernetes; nothing is skipped, and an unknown kind fails."""
    schemas = tool("SCHEMAS")
    versions = sorted(path.name.removeprefix("v") for path in Path(schemas).glob("v*"))
    problems, valid = [], 0
    for version in versions:
        told = run(tool("KUBECONFORM"), "-strict", "-summary", "-output", "json", "-kubernetes-version", version,
                   "-schema-location", schemas + "/v" + version + "/{{ .ResourceKind }}{{ .KindSuffix }}.json",
                   "-schema-location", schemas + "/custom/{{ .ResourceKind }}-{{ .Group }}-{{ .ResourceAPIVersion }}.json",
                   *map(str, renderings.files()))
        answer = json.loads(told.stdout or "{}")
        summary = answer.get("summary", {})
        problems += [f"{version}: {Path(bad['filename']).stem}: {bad['kind']}/{bad['name']}: {bad['msg']}"
                     for bad in answer.get("resources") or []]
        if told.returncode or summary.get("skipped") != 0 or not summary.get("valid"):
            problems.append(f"{version}: kubeconform ended with {told.returncode}: {summary} {told.stderr.strip()}")
        valid += summary.get("valid", 0)
    if len(versions) < 3:
        problems.append(f"there are schemas of {versions} alone")
    if problems:
        raise Failed(problems)
    return f"kubeconform: {valid} valid, for Kubernetes {', '.join(versions)}"


def restricted(renderings: Renderings) -> str:
    found = {f"{values.name}: {name}": pod for values in renderings.sets
             for name, pod in pods(renderings.manifests(values)).items()}
    told = run(tool("PODSECURITY"), input=json.dumps(found))
    if told.returncode:
        raise Failed((told.stdout + told.stderr).splitlines())
    return f"Kubernetes' own evaluator: {told.stdout.strip()}, all \"restricted\""


def scan(renderings: Renderings) -> str:
    folder = renderings.files()[0].parent
    told = run(tool("CHECKOV"), "--config-file", str(HERE / "checkov/config.yaml"), "--directory", str(folder),
               "--output", "json")
    try:
        answer = json.loads(told.stdout)
        summary, found = answer["summary"], answer["results"]["failed_checks"]
    except (ValueError, KeyError, TypeError):
        raise Failed([f"checkov ended with {told.returncode} and told nothing: {told.stderr.strip()[-500:]}"]) from None
    accepted = yaml.safe_load((HERE / "checkov/accepted.yaml").read_text())
    used = [[bad for bad in found if covers(entry, bad)] for entry in accepted]
    problems = [f"{bad['file_path']}: {bad['resource']}: {bad['check_id']} {bad['check_name']}" for bad in found
                if not any(covers(entry, bad) for entry in accepted)]
    problems += [f"accepted.yaml: {entry['check']} of {entry['resource']} is found nowhere any more"
                 for entry, cases in zip(accepted, used) if not cases]
    if summary["parsing_errors"] or not summary["passed"] or told.returncode:
        problems.append(f"checkov ended with {told.returncode}: {summary} {told.stderr.strip()[-500:]}")
    if problems:
        raise Failed(problems)
    return f"checkov {summary['checkov_version']}: {summary['passed']} passed, {len(accepted)} findings accepted, with reasons"


def covers(entry: dict, bad: dict) -> bool:
    return entry["check"] == bad["check_id"] and re.search(entry["resource"], bad["resource"]) is not None
