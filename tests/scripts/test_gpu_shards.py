"""Work dealt out to one process a GPU: what a dying or hanging process costs."""

import time

CHILD = """
import json, sys
left = sys.argv[sys.argv.index("--work") + 1].split(",")
for index in left:
    if index == "1":
        sys.exit(3)
    print('{"noise": 1}')
    print(json.dumps({"index": int(index), "said": sys.argv[1]}), flush=True)
    if index == "2":
        sys.exit(75)
"""


def test_a_child_that_dies_costs_one_answer(scripts, tmp_path):
    """A child that dies is replaced: what it was at is told as died, those before and after are answered."""
    child = tmp_path / "child.py"
    child.write_text(CHILD)
    found = scripts("bench.gpu_shards").dealt([str(child), "--x"], [4, 1, 2, 0], [0], time.monotonic() + 60)
    assert {index for index, one in found.items() if one.get("said") == "--x"} == {4, 2, 0}
    assert found[1] == {"index": 1, "died": "the process ended with exit status 3"}


def test_work_is_dealt_to_all_gpus(scripts, tmp_path, monkeypatch):
    """Each GPU has a process that sees only it, and the dearest pieces are spread over them."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    child = tmp_path / "child.py"
    child.write_text(
        "import json, os, sys\n"
        "for index in sys.argv[-1].split(','):\n"
        "    print(json.dumps({'index': int(index), 'gpu': os.environ['CUDA_VISIBLE_DEVICES']}))\n"
    )
    found = scripts("bench.gpu_shards").dealt([str(child)], [3, 0, 2, 1], [0, 5], time.monotonic() + 60)
    assert {index: one["gpu"] for index, one in found.items()} == {3: "0", 2: "0", 0: "5", 1: "5"}


def test_the_time_box_ends_a_hanging_child(scripts, tmp_path):
    """A child that hangs is ended with the time box, and its work stays unanswered."""
    child = tmp_path / "child.py"
    child.write_text("import time; time.sleep(60)")
    start = time.monotonic()
    assert scripts("bench.gpu_shards").dealt([str(child)], [0, 1], [0], start + 0.5) == {}
    assert time.monotonic() - start < 10
