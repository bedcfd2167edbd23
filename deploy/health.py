"""Exit with 0 if a server on this machine answers well, else with 1: for probes.

    python health.py [livez|readyz|health]

TAILOR_HEALTH_KEY_FILE names the file with a key of the scope `health`, where the server needs one;
TAILOR_PORT is its port, 8000 where nothing is said.
"""

import os
import sys
import urllib.error
import urllib.request
from pathlib import Path


def main() -> int:
    """Return the exit code, and print what the server says."""
    route = sys.argv[1] if len(sys.argv) > 1 else "livez"
    port = os.environ.get("TAILOR_PORT", "8000")
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{route}")
    key = Path(os.environ.get("TAILOR_HEALTH_KEY_FILE", ""))
    if key.is_file():
        request.add_header("authorization", f"Bearer {key.read_text(encoding='utf-8').strip()}")
    # Whatever proxy the environment names, the server is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=4) as answer:
            sys.stdout.write(answer.read(1000).decode() + "\n")
    except urllib.error.HTTPError as error:
        sys.stdout.write(f"{error.code} {error.reason}\n")
        return 1
    except OSError as error:
        sys.stdout.write(f"no answer: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
