"""The chart, the sets of values that it is rendered with, and what comes out."""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/chart"
CHART = ROOT / "helm/runwright"
RELEASE, NAMESPACE = "demo", "agents"
# Pages whose blocks of values (```yaml with "# values" in its first line) are sets, too.
PAGES = [ROOT / "docs/kubernetes.md"]


class Failed(Exception):
    """A check failed; `problems` are lines for people."""

    def __init__(self, problems: list[str]):
        super().__init__(problems)
        self.problems = problems


@dataclass
class Set:
    """A set of values, in a file of YAML."""

    name: str
    path: Path

    @property
    def values(self) -> dict:
        return yaml.safe_load(self.path.read_text()) or {}


class Renderings:
    """The sets, and each set's manifests, rendered once."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="runwright-chart-")
        self.folder = Path(self._folder.name)
        self._rendered: dict[str, str] = {}

    @cached_property
    def sets(self) -> list[Set]:
        own = [Set(path.stem, path) for path in sorted((HERE / "values").glob("*.yaml"))]
        return own + self._documented()

    def rendered(self, values: Set) -> str:
        """The manifests of a set, as text."""
        if values.name not in self._rendered:
            told = helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", str(values.path))
            if told.returncode:
                raise Failed([f"{values.name}: {told.stderr.strip()}"])
            self._rendered[values.name] = told.stdout
        return self._rendered[values.name]

    def manifests(self, values: Set) -> list[dict]:
        return [manifest for manifest in yaml.load_all(self.rendered(values), yaml.CSafeLoader) if manifest]

    def files(self) -> list[Path]:
        """The manifests of all sets, a file a set."""
        target = self.folder / "rendered"
        target.mkdir(exist_ok=True)
        for values in self.sets:
            (target / f"{values.name}.yaml").write_text(self.rendered(values))
        return sorted(target.iterdir())

    def _documented(self) -> list[Set]:
        sets = []
        for page in PAGES:
            blocks = re.findall(r"^```yaml\n(# values.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)
            for number, block in enumerate(blocks, 1):
                path = self.folder / f"{page.stem}-{number}.yaml"
                path.write_text(block)
                sets.append(Set(f"{page.name}-{number}", path))
            if not blocks:
                raise Failed([f"{page}: no block of values is left"])
        return sets


def tool(name: str) -> str:
    """The path of a tool, which the Makefile has in a variable of that name."""
    return str(ROOT / os.environ[name])


def run(*command: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **options)


def helm(*arguments: str) -> subprocess.CompletedProcess:
    return run(tool("HELM"), *arguments)


def pods(manifests: list[dict]) -> dict[str, dict]:
    """The pods of manifests, by name: metadata and spec of each."""
    found = {}
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            found[f"Deployment/{manifest['metadata']['name']}"] = manifest["spec"]["template"]
        elif manifest["kind"] == "Pod":
            found[f"Pod/{manifest['metadata']['name']}"] = {key: manifest[key] for key in ["metadata", "spec"]}
    return found
