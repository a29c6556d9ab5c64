"""The service takes the configuration that the chart renders, and answers a run with it."""

import contextlib
import re
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from chart import CHART, HERE, NAMESPACE, RELEASE, ROOT, Failed, Renderings, Set, helm, run, tool

from . import certificates

BINARY = ROOT / "target/debug/runwright"
MOUNTED = "/var/run/runwright"
SECRET = "a-value-for-tests"
# Until the service is ready. It takes some milliseconds; this is for a machine that is busy.
PATIENCE_SECONDS = 60


def configuration(renderings: Renderings) -> str:
    """`runwright check` takes each set's folder, laid out as the pod mounts it. No ConfigMap has a secret's value."""
    problems = []
    for values in renderings.sets:
        manifests = renderings.manifests(values)
        problems += [f"{values.name}: a secret's value is in the ConfigMap {manifest['metadata']['name']}"
                     for manifest in manifests if manifest["kind"] == "ConfigMap" and SECRET in yaml.safe_dump(manifest)]
        folder = renderings.folder / "mounted" / values.name
        environment = mount(values, manifests, folder)
        told = run(str(BINARY), "check", "--config", str(folder / "etc"), env=environment)
        if told.returncode or "The configuration is valid" not in told.stdout:
            problems.append(f"{values.name}: exit {told.returncode}: {told.stderr.strip()}")
    if problems:
        raise Failed(problems)
    return f"runwright check takes {len(renderings.sets)} of {len(renderings.sets)}"


def mount(values: Set, manifests: list[dict], folder: Path) -> dict[str, str]:
    """Lays out what the pod has mounted, with `folder` for the root, and gives the container's environment."""
    deployment = next(manifest for manifest in manifests if manifest["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    configs = {manifest["metadata"]["name"]: manifest.get("data", {}) for manifest in manifests if manifest["kind"] == "ConfigMap"}
    texts = projected(volumes["config"], configs)
    for mounted in container["volumeMounts"]:
        path = folder / mounted["mountPath"].lstrip("/")
        if mounted["mountPath"].startswith(MOUNTED):
            lay(path, volumes[mounted["name"]])
    (folder / "etc").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / "etc" / name).write_text(text.replace(MOUNTED, f"{folder}{MOUNTED}"))
    variables = re.findall(r"\benv: ([A-Za-z0-9_]+)", "\n".join(texts.values()))
    return {name: SECRET for name in variables} if "envFrom" in container else {}


def projected(volume: dict, configs: dict[str, dict]) -> dict[str, str]:
    """The files of the configuration: the chart's own, and those of an existing ConfigMap or Secret."""
    texts = {}
    for source in volume["projected"]["sources"]:
        name = next(iter(source.values()))["name"]
        files = configs.get(name) or {path.name: path.read_text() for path in (HERE / "existing").iterdir()}
        assert not texts.keys() & files.keys(), "two sources have the same file"
        texts |= files
    return texts


def lay(path: Path, volume: dict) -> None:
    """A Secret's or a token's files, with contents that the service takes."""
    path.mkdir(parents=True, exist_ok=True)
    made = certificates.pair()
    sources = volume.get("projected", {}).get("sources") or []
    items = volume.get("secret", {}).get("items") or [{"path": source["serviceAccountToken"]["path"]} for source in sources]
    for name in [item["path"] for item in items] or ["key"]:
        content = made.key if name == "tls.key" else made.certificate if name.endswith(".crt") else SECRET
        (path / name).write_text(content)


def first_run(renderings: Renderings) -> str:
    """The default installation is ready and answers; the lines of its notes do what they say, as they are printed."""
    grpc, admin = free_ports()
    arguments = ["--set", "listenHost=127.0.0.1", "--set", f"containerPorts.grpc={grpc},containerPorts.admin={admin}"]
    told = helm("install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=client", *arguments)
    if told.returncode:
        raise Failed([told.stderr])
    manifests, _, notes = told.stdout.partition("\nNOTES:\n")
    config = next(manifest for manifest in yaml.load_all(manifests.partition("\n---\n")[2], yaml.CSafeLoader)
                  if manifest and manifest["kind"] == "ConfigMap")
    folder = renderings.folder / "first-run"
    folder.mkdir()
    for name, text in config["data"].items():
        (folder / name).write_text(text)
    lines = [line.strip() for line in notes.splitlines() if line.strip().startswith("grpcurl ")]
    if len(lines) != 3:
        raise Failed([f"the notes have {len(lines)} lines for grpcurl", notes])
    with serving(folder, admin):
        answers = [ask(line.replace("127.0.0.1:50051", f"127.0.0.1:{grpc}")) for line in lines]
    wanted = ['"name": "demo"', '"finalOutput": "Runwright is installed.', '"runCompleted"']
    problems = [f"{line}: no {part!r} in {answer}" for line, answer, part in zip(lines, answers, wanted) if part not in answer]
    if problems:
        raise Failed(problems)
    return f"ready, and {len(lines)} lines of the notes answered"


def ask(line: str) -> str:
    told = run(tool("GRPCURL"), *shlex.split(line)[1:])
    return told.stdout + told.stderr


def free_ports() -> tuple[int, int]:
    """Two ports that are free now, above those that the chart refuses."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@contextlib.contextmanager
def serving(folder: Path, admin: int):
    """The service, from its being ready until SIGTERM, which it must end of with 0."""
    process = subprocess.Popen([BINARY, "serve", "--config", folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until_ready(process, admin)
        yield
        process.send_signal(signal.SIGTERM)
        if code := process.wait(PATIENCE_SECONDS):
            raise Failed([f"after SIGTERM the service ended with {code}", process.stdout.read()])
    finally:
        process.kill()
        process.communicate()


def wait_until_ready(process: subprocess.Popen, admin: int) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=1).close()
            return
        time.sleep(0.05)
    process.kill()
    raise Failed(["the service is not ready", process.communicate()[0]])
