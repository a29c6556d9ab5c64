"""What the chart refuses: each of `refusals.yaml` fails, by the schema or by a check, and names the key."""

import tempfile
from pathlib import Path

import yaml

from chart import CHART, HERE, NAMESPACE, RELEASE, Failed, Renderings, helm


def refuse(_: Renderings) -> str:
    cases = yaml.safe_load((HERE / "refusals.yaml").read_text())
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            path = Path(folder) / "values.yaml"
            path.write_text(yaml.safe_dump(case["values"]))
            told = helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", str(path))
            if told.returncode == 0:
                problems.append(f"not refused: {case['values']}")
            problems += [f"{case['values']}: the refusal does not name {key!r}: {told.stderr.strip()}"
                         for key in case["names"] if told.returncode and key not in told.stderr]
    told = helm("template", RELEASE, str(CHART), "--kube-version", "1.29.9")
    if told.returncode == 0 or "1.30" not in told.stderr:
        problems.append("Kubernetes 1.29 is not refused by kubeVersion")
    if problems:
        raise Failed(problems)
    return f"{len(cases) + 1} refused"
