"""What ships the server names files, flags and times that are really there."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from small_serving import LABELS, head_model, registry_of, running
from tailorbird.config.schema import ServeConfig
from tailorbird.records import Target
from tailorbird.serve.api_keys import Keys

DEPLOY = Path(__file__).parents[3] / "deploy"
DRAIN = ServeConfig().drain_seconds


def text(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, each with its words on one line."""
    lines = [line for line in text("Dockerfile").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]  # type: ignore[misc]


def manifests() -> dict[str, Any]:
    return {part["kind"]: part for part in yaml.safe_load_all(text("kubernetes.yaml"))}


def container() -> dict[str, Any]:
    (one,) = manifests()["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(one)


def service() -> dict[str, Any]:
    return dict(yaml.safe_load(text("compose.yaml"))["services"]["tailor"])


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text("tailorbird.service"))
    return parser


def commands() -> list[list[str]]:
    """Return every command line of `tailor` in these files, without the program."""
    start = shlex.split(unit()["Service"]["ExecStart"])
    assert Path(start[0]).name == "tailor"
    written = re.findall(
        r"tailor (serve keys add [^\\\n|`]*)", "".join(map(text, os.listdir(DEPLOY)))
    )
    command = next(words for name, words in instructions() if name == "CMD")
    return [
        yaml.safe_load(command), service()["command"], container()["args"], start[1:],
        *map(shlex.split, written),
    ]  # fmt: skip


def test_every_flag_is_one_of_the_command() -> None:
    from tailorbird.cli.main import app

    group: Any = typer.main.get_command(app)
    lines = commands()
    assert len(lines) >= 7
    for words in lines:
        # Parsed as the command parses them; nothing is run.
        group.commands[words[0]].make_context(words[0], list(words[1:]))


def test_the_images_files_are_there() -> None:
    copied = [words.split()[:-1] for name, words in instructions() if name == "COPY"]
    sources = {word for words in copied if not words[0].startswith("--") for word in words}
    assert sources == {
        *("pyproject.toml", "constraints.txt", "README.md", "LICENSE"),
        *("src", "examples", "deploy/health.py"),
    }
    allowed = {line[1:] for line in text("Dockerfile.dockerignore").splitlines() if line[0] == "!"}
    assert allowed == sources
    assert all((DEPLOY.parent / source).exists() for source in sources)
    arguments = {words.partition("=")[0] for name, words in instructions() if name == "ARG"}
    used = set(re.findall(r"\$\{(\w+)\}", text("Dockerfile")))
    assert used == arguments == {"PYTHON", "TORCH_INDEX", "EXTRAS"}
    assert next(w for n, w in instructions() if n == "USER") == "tailorbird"


def test_everybody_waits_for_what_was_begun() -> None:
    spec = manifests()["Deployment"]["spec"]["template"]["spec"]
    pause = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > pause + DRAIN
    assert int(service()["stop_grace_period"].removesuffix("s")) > DRAIN
    assert int(unit()["Service"]["TimeoutStopSec"]) > DRAIN


def test_parts_fit_each_other() -> None:
    parts, one = manifests(), container()
    spec = parts["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels == parts["Service"]["spec"]["selector"]
    assert parts["Service"]["spec"]["ports"][0]["targetPort"] == one["ports"][0]["name"]
    volumes = {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in one["volumeMounts"]} == volumes
    claim = next(v for v in spec["template"]["spec"]["volumes"] if v["name"] == "data")
    named = claim["persistentVolumeClaim"]["claimName"]
    assert named == parts["PersistentVolumeClaim"]["metadata"]["name"]
    assert one["ports"][0]["containerPort"] == ServeConfig().port
    checks = [
        one[f"{kind}Probe"]["exec"]["command"] for kind in ("startup", "readiness", "liveness")
    ]
    checks += [service()["healthcheck"]["test"][1:]]
    place = next(w.split()[1] for n, w in instructions() if n == "COPY" and "health.py" in w)
    assert [words[:2] for words in checks] == [["python", place]] * 4
    assert [words[2] for words in checks] == ["readyz", "readyz", "livez", "livez"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    """With a program that is there, as systemd looks for it."""
    copy = tmp_path / "tailorbird.service"
    copy.write_text(
        text("tailorbird.service").replace("/opt/tailorbird/bin/tailor", shutil.which("true") or "")
    )
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    faults = [line for line in checked.stderr.splitlines() if copy.name in line]
    assert faults == []


def test_the_probe_tells_a_server_that_works_from_one_that_does_not(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    file = tmp_path / "health.key"
    registry = registry_of({"topic": head_model(Target(labels=LABELS))})
    with running(registry, keys.path) as address:
        port = address.rpartition(":")[2]

        def probe(route: str = "livez") -> int:
            ended = subprocess.run(
                [sys.executable, str(DEPLOY / "health.py"), route],
                env={**os.environ, "TAILOR_PORT": port, "TAILOR_HEALTH_KEY_FILE": str(file)},
                capture_output=True, check=False,
            )  # fmt: skip
            return ended.returncode

        assert probe() == 0
        file.write_text(keys.add("health", ("health",)) + "\n")
        assert probe() == probe("readyz") == 0
        assert probe("v1/models") == 1  # more than the key may
        file.write_text("tb-another")
        assert probe() == 1
        keys.revoke("health")
        registry.close()
        assert probe() == 0 and probe("readyz") == 1
    assert probe() == 1
