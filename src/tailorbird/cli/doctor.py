"""`tailor doctor`."""

import sys

from tailorbird import terminal
from tailorbird.cli import shared_options as options


def doctor(json: options.Json = False, debug: options.Debug = False) -> None:
    """Show what this machine has, what is missing, and how to fix it.

    Example: `tailor doctor`
    """
    from tailorbird.flows.doctor import examine

    checks = examine()
    if json:
        print(terminal.as_json({"checks": checks, "ok": all(c["ok"] for c in checks)}))
    else:
        width = max(len(check["name"]) for check in checks)
        for check in checks:
            print(f"{'ok ' if check['ok'] else '!! '} {check['name']:<{width}}  {check['found']}")
            if check["fix"]:
                print(f"    {'':<{width}}  fix: {check['fix']}")
    sys.exit(0 if all(check["ok"] for check in checks) else 1)
