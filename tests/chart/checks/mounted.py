"""What a pod has mounted, laid out in a folder."""

import re
from pathlib import Path

from chart import HERE

from . import certificates

MOUNTED = "/var/run/runwright"
SECRET = "a-value-for-tests"


def lay_out(manifests: list[dict], folder: Path) -> dict[str, str]:
    """Lays out what the Deployment's pod has mounted, with `folder` for the root; gives the container's environment."""
    deployment = next(manifest for manifest in manifests if manifest["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    lay_secrets(pod, manifests, folder)
    configs = {manifest["metadata"]["name"]: manifest.get("data", {}) for manifest in manifests
               if manifest["kind"] == "ConfigMap"}
    texts = projected(next(volume for volume in pod["volumes"] if volume["name"] == "config"), configs)
    texts = {name: texts[name] for name in mounted(pod) or texts}
    (folder / "etc").mkdir(parents=True)
    for name, text in texts.items():
        (folder / "etc" / name).write_text(text.replace(MOUNTED, f"{folder}{MOUNTED}"))
    variables = re.findall(r"\benv: ([A-Za-z0-9_]+)", "\n".join(texts.values()))
    return {name: SECRET for name in variables} if "envFrom" in pod["containers"][0] else {}


def mounted(pod: dict) -> list[str]:
    """The files of the configuration that are mounted one by one; none if the folder is mounted whole."""
    mounts = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "config"]
    for mount in mounts:
        where = "/".join(["/etc/runwright", *filter(None, [mount.get("subPath")])])
        assert mount["mountPath"] == where, f"{mount} is not where the service looks"
    return [mount["subPath"] for mount in mounts if "subPath" in mount]


def projected(volume: dict, configs: dict[str, dict]) -> dict[str, str]:
    """The files of the configuration: the chart's own, and those of an existing ConfigMap or Secret."""
    texts = {}
    for source in volume["projected"]["sources"]:
        name = next(iter(source.values()))["name"]
        files = configs.get(name) or {path.name: path.read_text() for path in (HERE / "existing").iterdir()}
        assert not texts.keys() & files.keys(), "two sources have the same file"
        texts |= files
    return texts


def lay_secrets(pod: dict, manifests: list[dict], folder: Path) -> None:
    """The files of a pod's Secrets and tokens, with contents that the service takes."""
    # A Secret that cert-manager fills is for the names of its Certificate.
    names = {manifest["spec"]["secretName"]: manifest["spec"]["dnsNames"] for manifest in manifests
             if manifest["kind"] == "Certificate"}
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    for mount in pod["containers"][0].get("volumeMounts", []):
        if mount["mountPath"].startswith(MOUNTED):
            lay(folder / mount["mountPath"].lstrip("/"), volumes[mount["name"]], names)


def lay(path: Path, volume: dict, names: dict[str, list[str]]) -> None:
    path.mkdir(parents=True, exist_ok=True)
    secret = volume.get("secret", {})
    issued = certificates.issue(*names.get(secret.get("secretName"), ["tests"]))
    known = {"tls.crt": issued.certificate, "tls.key": issued.key, "ca.crt": issued.authority}
    sources = volume.get("projected", {}).get("sources") or []
    items = secret.get("items") or [{"path": source["serviceAccountToken"]["path"]} for source in sources]
    for name in [item["path"] for item in items] or ["key"]:
        (path / name).write_text(known.get(name, SECRET))
