"""Makes the schemas that kubeconform holds manifests against: Kubernetes' own, and those of custom resources.

usage: schemas.py FOLDER MODULE@VERSION…

Kubernetes' come from the package kubernetes-validate, custom resources' from the Go modules that define them.
"""

import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import yaml

class Loader(yaml.CSafeLoader):
    """YAML 1.1 has a type for a plain `=`, which some enumerations have as a text."""


Loader.add_constructor("tag:yaml.org,2002:value", Loader.construct_yaml_str)

# The oldest version that the chart takes, the newest that there are schemas of, and some between.
KUBERNETES = ["1.30.0", "1.32.0", "1.34.0", "1.36.0", "1.37.0"]
# Where modules keep their definitions, by the module's name.
DEFINITIONS = {
    "sigs.k8s.io/gateway-api": "config/crd/standard",
    "github.com/cert-manager/cert-manager": "deploy/crds",
    "github.com/prometheus-operator/prometheus-operator": "example/prometheus-operator-crd",
    "github.com/envoyproxy/gateway": "charts/gateway-helm/charts/crds/crds/generated",
    "github.com/kedacore/keda/v2": "config/crd/bases",
}


def main(folder: Path, modules: list[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for version in KUBERNETES:
        kubernetes(version, folder / f"v{version}")
    for module in modules:
        custom(module, folder / "custom")


def kubernetes(version: str, target: Path) -> None:
    """Their `$id`s name a host that has none of them; without, what they refer to is the file beside them."""
    target.mkdir(parents=True)
    source = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}-local-strict"
    for file in source.iterdir():
        text = file.read_text().replace('"/api/_definitions.json#', '"_definitions.json#')
        schema = json.loads(text)
        schema.pop("$id", None)
        (target / file.name).write_text(json.dumps(schema))


def custom(module: str, target: Path) -> None:
    target.mkdir(exist_ok=True)
    name = module.partition("@")[0]
    told = subprocess.run(["go", "mod", "download", "-json", module], check=True, capture_output=True, text=True)
    source = Path(json.loads(told.stdout)["Dir"]) / DEFINITIONS[name]
    written = 0
    for file in source.glob("*.yaml"):
        # Some are templates of a chart; what is a template in them stands around the schema.
        text = re.sub(r"^\s*\{\{.*\}\}\s*$", "", file.read_text(), flags=re.MULTILINE)
        for definition in yaml.load_all(text, Loader):
            written += write(definition, target) if (definition or {}).get("kind") == "CustomResourceDefinition" else 0
    if not written:
        sys.exit(f"{module} has no definitions in {source}")


def write(definition: dict, target: Path) -> int:
    spec = definition["spec"]
    for version in spec["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        # The server takes every object's own two, and its metadata, which it checks itself.
        schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
        schema["properties"]["metadata"] = {"type": "object"}
        path = target / f"{spec['names']['kind'].lower()}-{spec['group']}-{version['name']}.json"
        path.write_text(json.dumps(schema))
    return len(spec["versions"])


def strict(node):
    """A schema that refuses what is not in it, as the server does with strict validation."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]} | {key: node[key] for key in ["pattern"] if key in node}
    node = {key: {name: strict(item) for name, item in value.items()} if key == "properties" else strict(value)
            for key, value in node.items() if key != "default"}
    open_ended = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
    # Parts of `oneOf` and its like repeat some properties; the whole stands around them.
    if "properties" in node and node.get("type") == "object" and not open_ended:
        node["additionalProperties"] = False
    return node


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
