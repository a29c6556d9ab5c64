"""What is made of other files is as these are now."""

import json
import re
import shutil
import tempfile
from pathlib import Path

import yaml

from chart import CHART, ROOT, Failed, Renderings, run, tool

# A chart can't read files outside itself: it has copies of these.
COPIES = {
    ROOT / "docs/prometheus/alerts.yaml": CHART / "files/alerts.yaml",
    ROOT / "docs/grafana/dashboard.json": CHART / "files/dashboard.json",
}


def write() -> None:
    for source, copy in COPIES.items():
        shutil.copyfile(source, copy)
    document(CHART.parent)


def compare(_: Renderings) -> str:
    problems = [f"{copy.relative_to(ROOT)} is not {source.relative_to(ROOT)} any more: make chart WRITE=1"
                for source, copy in COPIES.items() if source.read_bytes() != copy.read_bytes()]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(CHART, Path(folder) / "runwright")
        document(Path(folder))
        if (Path(folder) / "runwright/README.md").read_bytes() != (CHART / "README.md").read_bytes():
            problems.append("helm/runwright/README.md is not what helm-docs makes: make chart WRITE=1")
    crate = run("cargo", "metadata", "--no-deps", "--offline", "--format-version", "1")
    version = json.loads(crate.stdout)["packages"][0]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    if chart["appVersion"] != version:
        problems.append(f"Chart.yaml has appVersion {chart['appVersion']}, the service is {version}")
    if chart.get("dependencies"):
        problems.append("Chart.yaml has dependencies: the chart stands alone")
    if problems:
        raise Failed(problems)
    return f"{len(COPIES)} copies, README.md, appVersion {version}"


def document(folder: Path) -> None:
    told = run(tool("HELM_DOCS"), "--chart-search-root", str(folder), "--sort-values-order", "file")
    # It warns, writes nothing and exits with 0.
    if told.returncode or re.search("level=(warning|error|fatal)", told.stderr):
        raise Failed(told.stderr.splitlines())


def documented(_: Renderings) -> str:
    """Every value has its place in the schema, every place in the schema its value, and nothing is fetched."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    problems, seen = [], []
    walk(values, schema, schema, "", problems, seen)
    page = (CHART / "README.md").read_text()
    for key, description in re.findall(r"^\| ([\w.]+) \| .* \|(.*)\|$", page, flags=re.MULTILINE):
        if not description.strip():
            problems.append(f"{key} has no description in values.yaml")
    for reference in references(schema):
        if not reference.startswith("#/definitions/"):
            problems.append(f"the schema refers to {reference}, which is outside of it")
    if problems:
        raise Failed(problems)
    return f"{len(seen)} values in a self-contained schema"


def walk(values: dict, node: dict, schema: dict, path: str, problems: list[str], seen: list[str]) -> None:
    properties = node.get("properties", {})
    if node.get("additionalProperties") is not False:
        problems.append(f"the schema takes any key in {path or 'the values'}")
    for key in properties.keys() - values.keys() - {"global"}:
        problems.append(f"{path}{key} is in the schema, and has no default in values.yaml")
    for key, value in values.items():
        if key not in properties:
            problems.append(f"{path}{key} is not in the schema")
            continue
        seen.append(path + key)
        inner = properties[key]
        # A mapping of its own keys, but not one that the schema shares: those are Kubernetes' or the user's.
        if isinstance(value, dict) and value and "properties" in inner and not optional(inner):
            walk(value, inner, schema, f"{path}{key}.", problems, seen)


def handed_on(_: Renderings) -> str:
    """What the schema knows of Kubernetes' own objects is what these have in the newest version that there are schemas of."""
    schemas = Path(tool("SCHEMAS"))
    newest = max(schemas.glob("v*"), key=lambda folder: [int(part) for part in folder.name[1:].split(".")])
    definitions = json.loads((CHART / "values.schema.json").read_text())["definitions"]
    named = {name: node for name, node in definitions.items() if "$comment" in node}
    problems = []
    for name, node in named.items():
        file, _, path = node["$comment"].partition(" ")
        origin = next(folder / f"{file}.json" for folder in [newest, schemas / "custom"] if (folder / f"{file}.json").exists())
        wanted = json.loads(origin.read_text())
        for key in filter(None, path.split(".")):
            wanted = wanted["properties"][key]
            wanted = wanted.get("items", wanted)
        wrong = sorted(node["properties"].keys() ^ wanted["properties"].keys())
        problems += [f"{name}: {key} is in {'the schema' if key in node['properties'] else node['$comment']} alone" for key in wrong]
        if node.get("additionalProperties") is not False:
            problems.append(f"{name} takes any key")
    if problems or not named:
        raise Failed(problems or ["the schema names no origin in a $comment"])
    return f"{len(named)} of Kubernetes' objects, as in {newest.name}"


def optional(node: dict) -> bool:
    """Whether its keys are Kubernetes' own, of which values.yaml has some."""
    return node["properties"].keys() >= {"requests"} or "rotationPolicy" in node["properties"]


def references(node) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for item in node for found in references(item)] if isinstance(node, list) else []
