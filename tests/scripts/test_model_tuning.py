"""Captured suites of real models, their sweeps, and which database answers."""

import sys
import time
from pathlib import Path


def test_a_suite_says_what_was_captured(scripts, tmp_path):
    """bfloat16 is captured as float16; without a GPU channels_last is left out; a captured suite is not captured again."""
    tuning, models = scripts("bench.model_tuning"), scripts("bench.real_models")
    meta = scripts("bench.model_modes").Meta()
    given = (models.FAKE, ("bfloat16", "float32"), ("channels_first", "channels_last"), tmp_path, meta)
    paths = tuning.captured(*given)
    assert [path.name for path in paths] == [
        "tiny_image-float16-float32-channels_first.json", "tiny_audio-float16-float32-channels_first.json",
    ]  # fmt: skip
    from tunedb.suite import load_suite

    entries = load_suite(paths[0])
    assert {(entry.op, entry.dtype, entry.precision) for entry in entries} == {
        (op, *variant)
        for op in ("conv2d", "conv_transpose2d")
        for variant in (("float16", "ieee"), ("float32", "tf32"))
    }
    paths[0].write_text("kept")
    tuning.captured(*given)
    assert paths[0].read_text() == "kept"


def test_sweeps_are_one_a_model_or_one_of_all(scripts):
    """Each suite has its minutes; together they have the sum, for the layers that gain most."""
    made = scripts("bench.model_tuning").swept_command
    suites, db = [Path("a.json"), Path("b.json")], Path("x.sqlite")
    each = [" ".join(one[4:]) for one in made(suites, db, 3.0, "all", together=False)]
    assert each == [f"sweep --suite {name}.json --minutes 3 --db x.sqlite --gpus all" for name in ("a", "b")]
    (whole,) = made(suites, db, 3.0, "0", together=True)
    assert " ".join(whole[4:]) == "sweep --suite a.json --suite b.json --minutes 6 --db x.sqlite --gpus 0"


def test_a_sweep_ends_in_time(scripts):
    """At the deadline a sweep is interrupted as by Ctrl-C, which it may use to keep what it found; no other begins."""
    tuned = scripts("bench.model_tuning").tuned
    code = "import time\ntry:\n time.sleep(60)\nexcept KeyboardInterrupt:\n pass"
    start = time.monotonic()
    assert tuned([[sys.executable, "-c", code], ["not begun"]], start + 2.0) == 1
    assert time.monotonic() - start < 20
    assert tuned([[sys.executable, "-c", "pass"]], time.monotonic() + 60) == 0


def test_unswept_is_the_shipped_database_alone(scripts, monkeypatch, tmp_path):
    """Without a database neither TUNEDB_PATH nor what this user has swept answers; a shipped file can be left out too."""
    from tunedb.store import files
    from tunedb.store.files import user_files

    monkeypatch.setattr(files, "shipped_files", files.shipped_files)

    answered_by = scripts("bench.model_tuning").answered_by
    monkeypatch.setenv("TUNEDB_PATH", "elsewhere.sqlite")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    answered_by(tmp_path / "swept.sqlite")
    assert user_files() == [tmp_path / "swept.sqlite"]
    answered_by(None)
    assert "h100" in files.shipped_files()
    answered_by(None, "h100")
    assert "h100" not in files.shipped_files()
    assert "h200" in files.shipped_files()
    assert not any(path.exists() for path in user_files())
    assert tmp_path not in user_files()[0].parents
