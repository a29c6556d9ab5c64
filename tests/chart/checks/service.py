"""The service takes the configuration that the chart renders, and answers with it."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from chart import CHART, NAMESPACE, RELEASE, Failed, Renderings, helm, run, tool

from . import mounted

# Until the service is ready. It takes some milliseconds; this is for a machine that is busy.
PATIENCE_SECONDS = 60


def configuration(renderings: Renderings) -> str:
    """`runwright check` takes each set's folder, laid out as the pod mounts it. No ConfigMap has a secret's value."""
    problems = []
    for values in renderings.sets:
        manifests = renderings.manifests(values)
        problems += [f"{values.name}: a secret's value is in the ConfigMap {manifest['metadata']['name']}"
                     for manifest in manifests
                     if manifest["kind"] == "ConfigMap" and mounted.SECRET in yaml.safe_dump(manifest)]
        folder = renderings.folder / "mounted" / values.name
        environment = mounted.lay_out(manifests, folder)
        told = run(tool("RUNWRIGHT"), "check", "--config", str(folder / "etc"), env=environment)
        if told.returncode or "The configuration is valid" not in told.stdout:
            problems.append(f"{values.name}: exit {told.returncode}: {told.stderr.strip()}")
    if problems:
        raise Failed(problems)
    return f"runwright check takes {len(renderings.sets)} of {len(renderings.sets)}"


def first_run(renderings: Renderings) -> str:
    """The default installation is ready and answers; the lines of its notes do what they say, as they are printed."""
    with serving(renderings.folder / "first-run") as (_, notes, grpc, _):
        lines = [line.strip() for line in notes.splitlines() if line.strip().startswith("grpcurl ")]
        answers = [ask(line.replace("127.0.0.1:50051", f"127.0.0.1:{grpc}")) for line in lines]
    wanted = ['"name": "demo"', '"finalOutput": "Runwright is installed.', '"runCompleted"']
    problems = [f"{line}: no {part!r} in {answer}" for line, answer, part in zip(lines, answers, wanted) if part not in answer]
    if len(lines) != len(wanted):
        problems.append(f"the notes have {len(lines)} lines for grpcurl")
    if problems:
        raise Failed(problems)
    return f"ready, and {len(lines)} lines of the notes answered"


def ask(line: str) -> str:
    told = run(tool("GRPCURL"), *shlex.split(line)[1:])
    return told.stdout + told.stderr


def health(renderings: Renderings) -> str:
    """The pod of `helm test` asks as it is rendered: in plain text, over TLS, and with a certificate of its own."""
    manager = ["--set", "tls.enabled=true,tls.certManager.enabled=true,tls.certManager.issuerRef.name=internal"]
    elsewhere = "tls.certManager.clusterNames=false,tls.certManager.dnsNames={agents.example.com}"
    cases = {"plain": [], "tls": manager, "named": [*manager, "--set", elsewhere],
             "mtls": [*manager, "--set", "tls.clientCA.enabled=true"]}
    problems = []
    for name, arguments in cases.items():
        with serving(renderings.folder / f"health-{name}", *arguments) as (manifests, _, grpc, folder):
            pod = next(manifest for manifest in manifests if manifest["kind"] == "Pod")["spec"]
            mounted.lay_secrets(pod, manifests, folder)
            asked = reachable(pod["containers"][0]["args"], grpc, folder)
            told = run(tool("RUNWRIGHT"), *asked)
            if "--certificate" in asked and run(tool("RUNWRIGHT"), *without_certificate(asked)).returncode == 0:
                problems.append(f"{name}: the service asks for no certificate")
            if told.returncode:
                problems.append(f"{name}: {pod['containers'][0]['args']} ended with {told.returncode}: {told.stderr.strip()}")
    if problems:
        raise Failed(problems)
    return f"{', '.join(cases)}: the pod of helm test finds the service healthy"


def reachable(arguments: list[str], grpc: int, folder: Path) -> list[str]:
    """The arguments with this machine's address and folder, and the Service's name for the certificate if none is said."""
    target = next(argument for argument in arguments if "://" in argument)
    scheme, _, host = target.partition("://")
    result = [argument.replace(target, f"{scheme}://127.0.0.1:{grpc}").replace(mounted.MOUNTED, f"{folder}{mounted.MOUNTED}")
              for argument in arguments]
    named = scheme != "https" or "--server-name" in result
    return result + ([] if named else ["--server-name", host.rpartition(":")[0]])


def without_certificate(arguments: list[str]) -> list[str]:
    first = arguments.index("--certificate")
    return arguments[:first] + arguments[first + 4:]


@contextlib.contextmanager
def serving(folder: Path, *arguments: str):
    """An installation's service, from its being ready until SIGTERM, which it must end of with 0.

    Gives the manifests, the notes, the port of gRPC, and the folder that stands for the pod's root.
    """
    grpc, admin = free_ports()
    ports = f"listenHost=127.0.0.1,containerPorts.grpc={grpc},containerPorts.admin={admin}"
    told = helm("install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--dry-run=client", "--set", ports, *arguments)
    if told.returncode:
        raise Failed([told.stderr])
    head, _, notes = told.stdout.partition("\nNOTES:\n")
    text = head.partition("\n---\n")[2].replace("\nMANIFEST:\n", "\n")
    manifests = [manifest for manifest in yaml.load_all(text, yaml.CSafeLoader) if manifest and "kind" in manifest]
    environment = mounted.lay_out(manifests, folder)
    process = subprocess.Popen([tool("RUNWRIGHT"), "serve", "--config", folder / "etc"], env=os.environ | environment,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until_ready(process, admin)
        yield manifests, notes, grpc, folder
        process.send_signal(signal.SIGTERM)
        if code := process.wait(PATIENCE_SECONDS):
            raise Failed([f"after SIGTERM the service ended with {code}", process.stdout.read()])
    finally:
        process.kill()
        process.wait()


def wait_until_ready(process: subprocess.Popen, admin: int) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=1).close()
            return
        time.sleep(0.05)
    process.kill()
    raise Failed(["the service is not ready", process.stdout.read()])


def free_ports() -> tuple[int, int]:
    """Two ports that are free now."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
