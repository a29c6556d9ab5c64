"""Checks a container image of Runwright as it runs; `make image` builds it and calls this, as root.

Usage: check.py IMAGE

It looks at what is in the image, then runs it twice as Kubernetes would (container.py): in plain text, and with TLS where
names come from a name server, as in a cluster, and the service's certificate is checked against the platform's roots.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from container import Container, run

MAX_BYTES = 25_000_000
GRPCURL = os.environ["GRPCURL"]
UID = 65532
ROOTS = "etc/ssl/certs/ca-certificates.crt"
FILES = {"LICENSE", ROOTS, "runwright"}
LABELS = ["title", "description", "source", "licenses", "version", "revision", "created"]
# The service's name in the cluster, which only the name server knows.
HOST = "runwright.agents.svc.cluster.local"

CONFIG = """\
server:
  listen: 0.0.0.0:50051
  admin_listen: 0.0.0.0:9464
{tls}
models:
  scripted: {{ provider: scripted, script: [{{ say: It runs. }}] }}
agents:
  greeter: {{ model: scripted }}
"""
TLS = """\
  tls:
    certificate: { file: tls/tls.crt }
    key: { file: tls/tls.key }
"""


def equal(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what}: {found!r}, and not {expected!r}")


@contextmanager
def mounted(image):
    """The folder with an image's files."""
    container = run("buildah", "from", "--pull-never", image).strip()
    try:
        yield Path(run("buildah", "mount", container).strip())
    finally:
        run("buildah", "rm", container)


def check_files(root):
    """What is in the image; how many bytes that is."""
    files = {path for path in root.rglob("*") if path.is_file()}
    equal("the image's files", {str(path.relative_to(root)) for path in files}, FILES)
    equal("the binary's mode", oct((root / "runwright").stat().st_mode & 0o7777), "0o755")
    return sum(path.stat().st_size for path in files)


def check_config(config):
    equal("the user", config["User"], f"{UID}:{UID}")
    equal("the ports", set(config["ExposedPorts"]), {"50051/tcp", "9464/tcp"})
    labels = {f"org.opencontainers.image.{label}" for label in LABELS}
    lacking = [label for label in labels if not config["Labels"].get(label)]
    equal("labels that are lacking", lacking, [])


def config_map(folder, text):
    """A folder as Kubernetes mounts a ConfigMap: the files are links into a folder that a link chooses."""
    version = folder / "..2026_11_21"
    version.mkdir(parents=True)
    (version / "runwright.yaml").write_text(text)
    (folder / "..data").symlink_to(version.name)
    (folder / "runwright.yaml").symlink_to("..data/runwright.yaml")
    return folder


def check_confinement(pid):
    """That it runs as it was to run: it would not prove much if the root were writable."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    equal("its user", status["Uid"].split(), [str(UID)] * 4)
    equal("its capabilities", {int(status[f"Cap{of}"], 16) for of in ["Inh", "Prm", "Eff", "Bnd", "Amb"]}, {0})
    equal("no new privileges", status["NoNewPrivs"], "1")
    mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    options = {mount[4]: mount[5].split(",") for mount in mounts}
    equal("a read-only root", "ro" in options["/"], True)


def check_health(container, started):
    """That it is healthy as soon as it says that it takes runs."""
    container.line("The service takes runs")
    ready = time.monotonic()
    equal("health", container.execute("/runwright", "healthcheck"), (0, "http://127.0.0.1:50051 is SERVING"))
    start, check = 1000 * (ready - started), 1000 * (time.monotonic() - ready)
    print(f"It took runs {start:.0f} ms after the container was to start; a health check took {check:.0f} ms.")
    code, said = container.execute("/runwright", "healthcheck", "--service", "none")
    equal("the health of what is not there", (code, said.split(" ", 1)[1]), (1, 'knows no service "none"'))


def check_calls(container):
    def grpcurl(*arguments):
        return run(*container.network(GRPCURL, "-plaintext", *arguments))

    services = grpcurl("127.0.0.1:50051", "list").split()
    for service in ["runwright.v1.AgentService", "runwright.v1.CatalogService", "grpc.health.v1.Health"]:
        equal(f"reflection lists {service}", service in services, True)
    request = json.dumps({"agent": "greeter", "input": "Does it?"})
    answer = json.loads(grpcurl("-d", request, "127.0.0.1:50051", "runwright.v1.AgentService/Run"))
    equal("a run's answer", answer["finalOutput"], "It runs.")


def check_plainly(root, image, folder):
    mounts = {"/etc/runwright": config_map(folder / "config", CONFIG.format(tls=""))}
    started = time.monotonic()
    with Container("runwright-plain", root, image, mounts) as container:
        check_health(container, started)
        check_confinement(container.pid)
        check_calls(container)
        equal("SIGTERM's exit code", container.terminate(), 0)
    print("It is healthy, answers reflection and a run, and ends on SIGTERM.")


def certificates(folder):
    """Writes an authority (ca.crt) and a certificate that it signed for HOST (tls.crt, tls.key)."""
    folder.mkdir()
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    authority = ["-subj", "/CN=an authority", "-keyout", "ca.key", "-out", "ca.crt"]
    run(*make, *authority, cwd=folder)
    of_server = ["-addext", f"subjectAltName=DNS:{HOST}", "-addext", "basicConstraints=critical,CA:FALSE"]
    signed = ["-subj", "/", "-CA", "ca.crt", "-CAkey", "ca.key", "-keyout", "tls.key", "-out", "tls.crt"]
    run(*make, *signed, *of_server, cwd=folder)
    # Who reads it is not who wrote it.
    (folder / "tls.key").chmod(0o644)
    return folder


@contextmanager
def name_server(container):
    """A name server in the container's network, which knows HOST alone."""
    script = Path(__file__).with_name("dns.py")
    command = container.network(sys.executable, str(script), HOST, "127.0.0.1")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        equal("the name server", server.stdout.readline(), "ready\n")
        yield
        server.stdin.close()


def check_names_and_roots(root, image, folder):
    tls = certificates(folder / "tls")
    roots = folder / "roots.crt"
    roots.write_text((root / ROOTS).read_text() + (tls / "ca.crt").read_text())
    resolv = folder / "resolv.conf"
    # As the kubelet writes it.
    resolv.write_text("search agents.svc.cluster.local svc.cluster.local\nnameserver 127.0.0.1\noptions ndots:5\n")
    config = folder / "secured"
    mounts = {
        "/etc/runwright": config_map(config, CONFIG.format(tls=TLS)),
        "/etc/runwright/tls": tls,
        "/etc/resolv.conf": resolv,
        f"/{ROOTS}": roots,
    }
    (config / "tls").mkdir()

    with Container("runwright-secured", root, image, mounts) as container:
        container.line("The service takes runs")

        def ask(host, *more):
            return container.execute("/runwright", "healthcheck", "--target", f"https://{host}:50051", *more)

        with name_server(container):
            equal("a whole name", ask(HOST), (0, f"https://{HOST}:50051 is SERVING"))
            own = ask("runwright", "--server-name", HOST)
            equal("a name within the namespace", own, (0, "https://runwright:50051 is SERVING"))
            code, said = ask("nobody.agents.svc.cluster.local")
            equal("a name that there is not", (code, "Name or service not known" in said), (1, True))
            code, said = ask("runwright")
            equal("a name that the certificate is not for", (code, "not valid for name" in said), (1, True))
        equal("SIGTERM's exit code", container.terminate(), 0)
    print("It finds names by DNS, and checks certificates against the platform's roots.")


def main(image):
    config = json.loads(run("buildah", "inspect", "--type", "image", image))["OCIv1"]["config"]
    check_config(config)
    with mounted(image) as root, tempfile.TemporaryDirectory() as folder:
        # Whom the service runs as has to pass through.
        os.chmod(folder, 0o755)
        size = check_files(root)
        check_plainly(root, config, Path(folder))
        check_names_and_roots(root, config, Path(folder))
    # Last, so that a quicker build, which is larger, can have the rest checked.
    print(f"It has {size / 1e6:.1f} MB.")
    equal("its size is within bounds", size <= MAX_BYTES, True)


if __name__ == "__main__":
    main(*sys.argv[1:])
