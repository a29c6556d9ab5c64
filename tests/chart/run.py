"""Checks the chart: from its schema to a run that the service answers with the chart's own configuration.

usage: run.py [--write] [CHECK…]

Without names all checks run. Each says what it looked at; the summary at the end names those that failed, and the exit code is 1
then. `--write` writes what is made of other files (copies, README) in place of comparing it.
"""

import sys
import time
import traceback
from collections.abc import Callable

import checks
from chart import Failed, Renderings

CHECKS: dict[str, Callable[[Renderings], str]] = {
    "drift": checks.drift.compare,
    "documented": checks.drift.documented,
    "handed-on": checks.drift.handed_on,
    "lint": checks.rendering.lint,
    "render": checks.rendering.render,
    "package": checks.rendering.package,
    "refusals": checks.refusals.refuse,
    "reload": checks.reload.replaced,
    "unit": checks.rendering.unit,
    "manifests": checks.manifests.validate,
    "pod-security": checks.manifests.restricted,
    "checkov": checks.manifests.scan,
    "configuration": checks.service.configuration,
    "first-run": checks.service.first_run,
    "helm-test": checks.service.health,
}


def main(names: list[str]) -> int:
    if names == ["--write"]:
        checks.drift.write()
        return 0
    if unknown := set(names) - CHECKS.keys():
        print(f"there is no check {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    renderings = Renderings()
    results = [run(name, renderings) for name in names or CHECKS]
    print("\nThe chart's checks:")
    for name, good, seconds, told in results:
        print(f"  {'ok    ' if good else 'FAILED'} {name:13} {seconds:6.1f} s  {told}")
    failed = [name for name, good, _, _ in results if not good]
    print(f"{len(results) - len(failed)} of {len(results)} passed" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def run(name: str, renderings: Renderings) -> tuple[str, bool, float, str]:
    print(f"{name} …", flush=True)
    started = time.monotonic()
    try:
        good, told = True, CHECKS[name](renderings)
    except Failed as failure:
        good, told = False, f"{len(failure.problems)} problems"
        for problem in failure.problems:
            print(f"  {problem}")
    except Exception as error:
        # The other checks have their say all the same.
        good, told = False, f"the check itself failed: {error!r}"
        traceback.print_exc()
    return name, good, time.monotonic() - started, told


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
