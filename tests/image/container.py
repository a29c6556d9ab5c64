"""Containers as Kubernetes runs them under the Pod Security Standard "restricted", by runc, without a daemon.

The root is read-only, there is no capability and no way to new privileges, and /tmp is a tmpfs. The network is a namespace
of its own with nothing but loopback.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

PATIENCE = 60


def run(*command, **options):
    """Runs a command to its end, which must be a good one; what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Container:
    """A running container; it is killed and removed when it is left."""

    def __init__(self, name, root, image, mounts):
        """`image` is the image's configuration, `mounts` what is mounted read-only: a path inside to one outside."""
        self.name = f"{name}-{os.getpid()}"
        self.bundle = tempfile.TemporaryDirectory()
        specification = Path(self.bundle.name, "config.json")
        specification.write_text(json.dumps(specify(root, image, mounts)))
        command = ["runc", "run", "--bundle", self.bundle.name, self.name]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["runc", "delete", "--force", self.name], capture_output=True, timeout=PATIENCE)
        self.process.wait(PATIENCE)
        self.bundle.cleanup()

    def line(self, text):
        """The first line of its output from here on that has a text."""
        before = ""
        for line in self.process.stdout:
            if text in line:
                return line
            before += line
        code = self.process.wait(PATIENCE)
        raise AssertionError(f"{self.name} ended without {text!r}: exit code {code}\n{before}")

    def execute(self, *command):
        """Runs a command inside; its exit code, and what it printed."""
        inside = ["runc", "exec", self.name, *command]
        done = subprocess.run(inside, capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, (done.stdout + done.stderr).strip()

    @property
    def pid(self):
        return str(json.loads(run("runc", "state", self.name))["pid"])

    def network(self, *command):
        """A command that runs outside, but in the container's network."""
        return ["nsenter", "--target", self.pid, "--net", *command]

    def terminate(self):
        """Sends SIGTERM to it; its exit code."""
        run("runc", "kill", self.name, "TERM")
        self.process.stdout.read()
        return self.process.wait(PATIENCE)


def specify(root, image, mounts):
    """The specification of a container (OCI runtime specification 1.0)."""
    uid, gid = map(int, image["User"].split(":"))
    kept = ["nosuid", "noexec", "nodev"]
    none = {of: [] for of in ["bounding", "effective", "inheritable", "permitted", "ambient"]}
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": uid, "gid": gid},
            "args": image["Entrypoint"] + image["Cmd"],
            "env": image.get("Env") or [],
            "cwd": "/",
            "capabilities": none,
            "noNewPrivileges": True,
        },
        "root": {"path": str(root), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": kept},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": [*kept, "mode=1777"]},
        ]
        + [
            {"destination": inside, "type": "bind", "source": str(outside), "options": ["bind", "ro"]}
            for inside, outside in mounts.items()
        ],
        "linux": {
            "namespaces": [{"type": of} for of in ["pid", "network", "ipc", "uts", "mount"]],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
            "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"],
        },
    }
