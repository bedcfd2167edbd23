"""Arms on a Ray cluster: files that go and come, nodes that die, clusters that are not there."""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tailorbird.arms.ray_cluster import Cluster, pack, unpack
from tailorbird.errors import UserError
from tailorbird.runs import ray_nodes
from tailorbird.runs.ray_nodes import on_node

TAILOR = [sys.executable, "-m", "tailorbird.cli.main"]
TESTS = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.2"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_arm_goes_to_a_node_with_what_it_needs_and_nothing_of_other_arms(tmp_path: Path) -> None:
    run, node = tmp_path / "run", tmp_path / "node"
    write(run, data__split_json="rows", arms__lora__job_json="job", arms__full__arm_json="other")
    write(run, arms__lora__search__plan_json="plan", arms__lora__seeds__1__job_json="again")
    unpack(pack(run, run / "arms/lora"), node, node / "arms/lora")
    first = {"data/split.json", "arms/lora/job.json", "arms/lora/search/plan.json"}
    assert names(node) == first, "of a first training no later ones"
    seed = run / "arms/lora/seeds/1"
    unpack(pack(run, seed), tmp_path / "second", tmp_path / "second/arms/lora/seeds/1")
    assert names(tmp_path / "second") == {
        "data/split.json", "arms/lora/search/plan.json", "arms/lora/seeds/1/job.json",
    }  # fmt: skip


def test_what_comes_back_replaces_the_arm_and_nothing_of_others(tmp_path: Path) -> None:
    run, node = tmp_path / "run", tmp_path / "node"
    write(run, config_json="own", arms__lora__job_json="job", arms__lora__half_json="checkpoint")
    write(run, arms__lora__seeds__1__arm_json="a seed", data__shown_json="another arm's")
    write(node, config_json="changed", arms__lora__job_json="job", arms__lora__arm_json="report")
    write(node, arms__lora__more_json="more", data__shown_json="ours", data__new_json="new")
    unpack(pack(node, node / "arms/lora", but={"config.json"}), run, run / "arms/lora")
    assert names(run / "arms/lora") == {"job.json", "arm.json", "more.json", "seeds/1/arm.json"}
    assert (run / "arms/lora/arm.json").read_text() == "report"
    assert (run / "config.json").read_text() == "own"
    assert (run / "data/shown.json").read_text() == "another arm's"
    assert (run / "data/new.json").read_text() == "new"


def test_a_report_is_written_after_all_else(tmp_path: Path) -> None:
    import io
    import tarfile

    write(tmp_path, arms__lora__arm_json="report", arms__lora__predictions_json="rows")
    with tarfile.open(fileobj=io.BytesIO(pack(tmp_path, tmp_path / "arms/lora"))) as archive:
        assert archive.getnames()[-1] == "arms/lora/arm.json"


def test_another_version_on_a_node_is_told() -> None:
    with pytest.raises(
        UserError, match=r"has tailorbird .*, but the run was started with 0\.0\.1"
    ) as fault:
        on_node(len, [], "0.0.1", ".")
    assert "same version" in fault.value.fix


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "no.such.host.invalid"])
def test_no_cluster_is_told_at_once(host: str) -> None:
    pytest.importorskip("ray")
    address, began = f"{host}:{free_port()}", time.monotonic()
    with pytest.raises(UserError, match=f"cannot join a Ray cluster at {address}") as fault:
        Cluster(address)
    assert "ray start --head" in fault.value.fix
    assert time.monotonic() - began < 20


def test_other_versions_of_ray_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.40.0")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray_nodes, "_reachable", lambda address: {})
    with pytest.raises(UserError, match=r"Version mismatch: .* Ray: 2\.40\.0"):
        Cluster("10.0.0.1:6379")


def test_ray_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="not installed") as fault:
        Cluster("auto")
    assert "tailorbird[ray]" in fault.value.fix


# --- real nodes -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Two nodes on this machine, of one core each."""
    pytest.importorskip("ray")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster as Nodes

    own = {"num_cpus": 1, "node_ip_address": LOOPBACK}
    both = Nodes(initialize_head=True, head_node_args=own | {"include_dashboard": False})
    try:
        start(both)
        yield both
    finally:
        both.shutdown()


def kill(nodes: Any) -> None:
    """End the node that is not the head, without a word."""
    for node in list(nodes.worker_nodes):
        nodes.remove_node(node, allow_graceful=False)


def start(nodes: Any) -> None:
    """Start another where there is none."""
    if not nodes.worker_nodes:
        nodes.add_node(num_cpus=1, node_ip_address=LOOPBACK)


@pytest.mark.slow
def test_work_of_a_node_that_is_killed_is_done_again_once(
    nodes: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    start(nodes)
    notes = tmp_path / "notes.txt"
    notes.touch()
    places = [tmp_path / "run" / "arms" / name for name in ("one", "two", "three")]
    for place in places:
        write(place, job_json=json.dumps({"seconds": 4, "notes": str(notes)}))

    def begun() -> list[str]:
        return [line.split()[0] for line in notes.read_text().splitlines()]

    def kill_midway() -> None:
        while len(begun()) < 2:
            time.sleep(0.1)
        kill(nodes)

    killer = threading.Thread(target=kill_midway)
    killer.start()
    with Cluster(nodes.address) as scheduler:
        codes = scheduler.map(
            lambda place: scheduler.run("cluster_work", str(tmp_path / "run"), str(place)), places
        )
    killer.join()
    assert codes == [0, 0, 0]
    assert len(begun()) == 4 and set(begun()) == {"one", "two", "three"}
    for place in places:
        assert names(place) == {"job.json", "arm.json"}
        assert (place / "arm.json").read_text() == f"report of {place.name}"
    output = capfd.readouterr()
    assert output.out == ""
    assert "is lost" in output.err


def begin(
    data: Path, model: Path, output: Path, *more: str, verb: str = "compare"
) -> "subprocess.Popen[str]":
    arms = ("--methods", "majority,lora,rag,rag+best") if verb == "compare" else ()
    seeds = ("--seeds", "1") if verb == "compare" and "--seeds" not in more else ()
    words = [
        *(*TAILOR, verb, str(data), "--model", str(model), "--output", str(output), "--json"),
        *(*arms, *seeds, "--set", "train.epochs=2"),
        *("--set", "evaluate.label_errors=false", *more),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with output.with_suffix(".out").open("w") as out, output.with_suffix(".err").open("w") as err:
        return subprocess.Popen(words, stdout=out, stderr=err, text=True, env=environment)


def report(process: "subprocess.Popen[str]", output: Path) -> dict[str, Any]:
    assert process.wait(900) == 0, output.with_suffix(".err").read_text()
    result: dict[str, Any] = json.loads(output.with_suffix(".out").read_text())
    return result


def scores(report: dict[str, Any]) -> list[Any]:
    arms = [(arm["name"], arm["status"], arm["test"]) for arm in report["arms"]]
    return [*arms, report["verdict"]["best"], report["verdict"]["recommended"]]


def files(folder: Path) -> set[str]:
    """Return the names of a run's files; those of TensorBoard have a time in them."""
    return {name for name in names(folder) if "tfevents" not in name}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_node_killed_at_20_random_moments_leaves_the_report_of_one_machine(
    nodes: Any, tiny_csv: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    one = report(begin(tiny_csv, tiny_encoder, tmp_path / "one"), tmp_path / "one")
    draw, kills, runs = random.Random(7), 0, 0
    while kills < 20:
        runs += 1
        output = tmp_path / f"run{runs}"
        start(nodes)
        process = begin(tiny_csv, tiny_encoder, output, "--ray", nodes.address)
        while process.poll() is None and kills < 20:
            try:
                process.wait(draw.uniform(1, 12))
            except subprocess.TimeoutExpired:
                kill(nodes)
                kills += 1
                start(nodes)
        several = report(process, output)
        assert scores(several) == scores(one), f"after {kills} kills"
        assert files(output) == files(tmp_path / "one")
        sys.stderr.write(f"{runs} comparisons, {kills} kills\n")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("verb", ["tune", "compare"])
def test_trials_on_nodes_find_what_one_machine_finds(
    nodes: Any, tiny_csv: Path, tiny_encoder: Path, tmp_path: Path, verb: str
) -> None:
    start(nodes)
    one, several = tmp_path / "one", tmp_path / "several"
    more = ["--search", "4", "--set", "search.sampler=random"]
    lone = report(begin(tiny_csv, tiny_encoder, one, *more, verb=verb), one)
    more += ["--ray", nodes.address]
    process = begin(tiny_csv, tiny_encoder, several, *more, verb=verb)
    while not list(several.rglob("trial.json")) and process.poll() is None:
        time.sleep(0.1)
    kill(nodes)
    start(nodes)
    spread = report(process, several)
    searches = [
        {arm["name"]: arm["search"] for arm in each["arms"] if arm["search"]}
        for each in (lone, spread)
    ]
    assert searches[0] and searches[0].keys() == searches[1].keys()
    for name, search in searches[0].items():
        other = searches[1][name]
        assert search["best"] == other["best"]
        for mine, theirs in zip(search["trials"], other["trials"], strict=True):
            assert mine | {"seconds": 0} == theirs | {"seconds": 0}
    assert scores(spread) == scores(lone)
    begun = {path.parent.name for path in several.rglob("trial.json")}
    assert begun == {"0000", "0001", "0002", "0003"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_documents_are_embedded_by_nodes_one_of_which_dies(nodes: Any, tmp_path: Path) -> None:
    start(nodes)
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(300):
        words = " ".join(f"fact {number} of {n}" for n in range(60))
        (docs / f"{number}.md").write_text(f"# Page {number}\n\n{words}\n")
    store = tmp_path / "KB"
    words = [*TAILOR, "index", str(docs), "--store", str(store), "--ray", nodes.address, "--json"]
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=err, text=True)
        time.sleep(15)
        kill(nodes)
        start(nodes)
        out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, (tmp_path / "err").read_text()
    indexed = json.loads(out)["indexed"]
    assert (indexed["added"], indexed["skipped"]) == (300, {})
    check = [*TAILOR, "index", "--store", str(store), "--verify", "--json"]
    verified = json.loads(subprocess.run(check, capture_output=True, text=True, check=True).stdout)
    assert verified["verified"]["ok"] and verified["verified"]["documents"] == 300
