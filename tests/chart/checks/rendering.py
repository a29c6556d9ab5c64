"""Every set of values is linted and rendered, and the units of the templates do what their tests say."""

import tarfile

from chart import CHART, HERE, NAMESPACE, RELEASE, ROOT, Failed, Renderings, helm, run, tool

LEAST_SETS = 12
# What .helmignore leaves out.
AUTHORS = {"runwright/README.md.gotmpl"}


def lint(renderings: Renderings) -> str:
    problems = []
    for values in renderings.sets:
        told = helm("lint", "--strict", "--quiet", str(CHART), "--values", str(values.path))
        if told.returncode:
            problems += [f"{values.name}: {line}" for line in (told.stdout + told.stderr).splitlines() if line.strip()]
    if problems:
        raise Failed(problems)
    return f"{len(renderings.sets)} sets of values"


def render(renderings: Renderings) -> str:
    """All sets render, to objects in the release's namespace with the recommended labels and names of their own."""
    problems, count, kinds = [], 0, set()
    for values in renderings.sets:
        names = set()
        for manifest in renderings.manifests(values):
            count += 1
            metadata, kind = manifest["metadata"], manifest["kind"]
            kinds.add(kind)
            where = f"{values.name}: {kind}/{metadata['name']}"
            if (kind, metadata["name"]) in names:
                problems.append(f"{where} is there twice")
            names.add((kind, metadata["name"]))
            if metadata.get("namespace") != NAMESPACE:
                problems.append(f"{where} is in the namespace {metadata.get('namespace')}")
            # Those of `extraObjects` are the user's.
            if metadata["name"] not in ["more", "demo-runwright-text"] and kind != "ScaledObject":
                problems += [f"{where} lacks the label {label}" for label in missing_labels(metadata)]
    if len(renderings.sets) < LEAST_SETS:
        problems.append(f"{len(renderings.sets)} sets of values are fewer than {LEAST_SETS}")
    if problems:
        raise Failed(problems)
    return f"{count} objects of {len(kinds)} kinds"


def package(renderings: Renderings) -> str:
    """The package has all that the chart reads, nothing that only its authors read, and renders as the folder does."""
    told = helm("package", str(CHART), "--destination", str(renderings.folder))
    if told.returncode:
        raise Failed([told.stderr])
    archive = next(renderings.folder.glob("runwright-*.tgz"))
    with tarfile.open(archive) as opened:
        names = set(opened.getnames())
    wanted = {f"runwright/{path.relative_to(CHART)}" for path in CHART.rglob("*") if path.is_file()}
    problems = [f"the package lacks {name}" for name in wanted - names - AUTHORS]
    problems += [f"the package has {name}" for name in names - (wanted - AUTHORS)]
    everything = next(values for values in renderings.sets if values.name == "all-on")
    told = helm("template", RELEASE, str(archive), "--namespace", NAMESPACE, "--values", str(everything.path))
    if told.stdout != renderings.rendered(everything):
        problems.append(f"the package renders otherwise than the folder: {told.stderr.strip()}")
    if problems:
        raise Failed(problems)
    return f"{archive.name}: {len(names)} files"


def missing_labels(metadata: dict) -> set[str]:
    wanted = ["name", "instance", "version", "component", "part-of", "managed-by"]
    return {f"app.kubernetes.io/{label}" for label in wanted} - metadata.get("labels", {}).keys()


def unit(_: Renderings) -> str:
    told = run(tool("HELM_UNITTEST"), "--strict", "--color=false", "--file", "../../tests/chart/unit/*_test.yaml",
               str(CHART))
    if told.returncode:
        raise Failed((told.stdout + told.stderr).splitlines())
    counts = [line.strip() for line in told.stdout.splitlines() if line.startswith("Tests:")]
    if not counts or " 0 passed" in counts[0]:
        raise Failed([f"helm-unittest found no test in {(HERE / 'unit').relative_to(ROOT)}"])
    return "helm-unittest: " + " ".join(counts[0].split())
