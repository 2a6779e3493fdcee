"""The databases that come with tunedb: every row sound, current, valid on its GPU, and what it says it is."""

import sqlite3
import warnings
from collections import Counter

import pytest

from tunedb.device import by_slug, floor_us
from tunedb.device.assembler import overwrites
from tunedb.dispatch.likely import LEAST, chance
from tunedb.dispatch.lookup import answer
from tunedb.kernel import config_from_json, is_stale, load, names
from tunedb.measure.tolerance import ROUNDING, SLACK
from tunedb.store import files
from tunedb.store.read import Database
from tunedb.suite import load_suite, problems
from tunedb.tune.predict.proxies import PROXY

pytest.importorskip("triton")

SHIPPED = files.shipped_files()
MEASURED = {"h100", "h200"}  # a machine with one has made the file
TF32 = 2.0**-11
OF_MODELS = "h100"  # holds layers of real models, not the shipped suites
HELD = {  # how many of each that file has
    ("float16", "channels_first"): 775,
    ("float16", "channels_last"): 465,
    ("float32", "channels_first"): 143,
    ("float32", "channels_last"): 22,
}

pytestmark = pytest.mark.parametrize("slug", SHIPPED)


def opened(slug):
    return Database(SHIPPED[slug], immutable=True)


def records(slug):
    """Every record of a file; a row that cannot be is a warning, and so an error."""
    file = opened(slug)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return file.records()
    finally:
        file.close()


def test_every_row_is_sound(slug):
    """Every row of the file is read as a record, none is left aside, and SQLite finds no damage."""
    connection = sqlite3.connect(f"{SHIPPED[slug].absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        (rows,) = connection.execute("SELECT count(*) FROM records").fetchone()
        (shown,) = connection.execute("SELECT count(*) FROM winners").fetchone()
        checks = [line for check in ("integrity_check", "foreign_key_check") for (line, *_) in connection.execute(f"PRAGMA {check}")]  # fmt: skip
    finally:
        connection.close()
    assert rows == shown == len(records(slug)) > 0
    assert checks == ["ok"]


def test_nothing_beside_the_file(slug):
    """The file is whole by itself: no journal beside it, and no write-ahead log, which a read-only place cannot have."""
    assert [path.name for path in SHIPPED[slug].parent.glob(f"{slug}.sqlite*")] == [f"{slug}.sqlite"]
    assert SHIPPED[slug].read_bytes()[18:20] == b"\x01\x01"


def test_only_its_own_device(slug):
    """A file is named after the one device that its records are for, which is described as the catalogue does."""
    assert {record.device for record in records(slug)} == {slug}
    file = opened(slug)
    try:
        assert file.devices() == {slug: (by_slug(slug).name, by_slug(slug).capability)}
    finally:
        file.close()


def test_kernels_are_known_and_current(slug):
    """Every kernel is installed, and its code is what was timed."""
    found = records(slug)
    assert {record.kernel for record in found} <= set(names())
    stale = sorted({record.kernel for record in found if is_stale(record.kernel, record.kernel_hash)})
    assert not stale, f"{stale} changed since {slug}.sqlite was made: sweep again"


def test_configs_are_valid(slug):
    """Every config is its kernel's own, and solves its problem on that device."""
    device = by_slug(slug)
    for record in records(slug):
        kernel = load(record.kernel)
        assert record.problem.op in kernel.OPS
        config = config_from_json(kernel, record.config)
        assert not kernel.valid(record.problem, config, device), record


def test_provenance(slug):
    """Times of the H100 and H200 were measured on them. Nothing calls another card's measured: a proxy is named by every such candidate."""
    found = {record.provenance for record in records(slug)}
    if slug in MEASURED:
        assert found == {"measured"}
        return
    assert found == {"proxy", "predicted"}
    file = opened(slug)
    try:
        for record in file.records():
            winner = next(
                one for one in file.top(record.problem, slug) if one.choice == (record.kernel, record.config)
            )
            assert winner.measurement.detail.startswith(PROXY) == (record.provenance == "proxy")
    finally:
        file.close()


def test_figures(slug):
    """Measured rows have torch's side of the same run and are neither slower nor less exact; others say what to expect, and how surely."""
    for record in records(slug):
        assert record.floor_us == pytest.approx(floor_us(record.problem, by_slug(slug)), rel=1e-6)
        assert record.trials >= 1
        assert record.triton
        assert record.torch
        if record.provenance == "measured":
            assert record.time_us_low <= record.time_us <= record.time_us_high
            assert record.time_us <= 1.03 * record.aten_us, record
            # Where TF32 is declared a record may have its error though torch was exact: 2.9e-4, at most a factor's half unit.
            permitted = max(record.aten_error, TF32 if record.problem.precision == "tf32" else 0.0)
            assert record.error <= max(SLACK * permitted, ROUNDING), record
            assert record.cudnn
            assert record.driver
        else:
            assert record.time_us_low < record.time_us < record.time_us_high
            assert record.aten_us >= record.floor_us * (1 - 1e-9)
            assert (record.error, record.aten_error) == (None, None)


def test_every_record_answers(slug, monkeypatch):
    """A lookup finds every shipped record in the tier `exact`, or that it is too little likely to be faster than torch."""
    monkeypatch.setenv("TUNEDB_PATH", "")
    monkeypatch.setattr(files, "user_files", list)
    files.reload()
    device = by_slug(slug)
    try:
        for record in records(slug):
            found = answer(record.problem, device)
            if record.provenance != "measured" and chance(record, device) < LEAST:
                assert found[:4] == ("aten", "aten", None, record)
                continue
            assert (found.tier, found.kernel, found.record) == ("exact", record.kernel, record)
            if record.kernel != "aten":
                assert found.config == config_from_json(load(record.kernel), record.config)
    finally:
        files.reload()


def test_candidates(slug):
    """The finalists of each sweep are kept with configs that can be timed again, the winner with its time among them."""
    file, device = opened(slug), by_slug(slug)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = [(record, file.top(record.problem, slug)) for record in file.records()]
    finally:
        file.close()
    for record, top in found:
        for candidate in top:
            kernel = load(candidate.kernel)
            config = config_from_json(kernel, candidate.config)
            assert not kernel.valid(record.problem, config, device)
            assert candidate.measurement.time_us is not None or candidate.measurement.status != "ok"
        winner = (record.kernel, record.config, record.time_us)
        assert record.kernel == "aten" or winner in {(one.kernel, one.config, one.measurement.time_us) for one in top}  # fmt: skip


def test_holds_what_it_promises(slug):
    """The file has all of kernelbench and the batch-1 layers of models, in float32 and float16 and both layouts."""
    if slug == OF_MODELS:
        assert Counter((one.problem.dtype, one.problem.layout) for one in records(slug)) == HELD
        return
    known = {record.problem for record in records(slug)}
    single = [entry for entry in load_suite("models") if entry.n == 1]
    promised = problems(
        load_suite("kernelbench") + single, ("float32", "float16"), ("channels_first", "channels_last")
    )
    missing = [problem for problem in promised if problem not in known]
    assert not missing, f"{len(missing)} of {len(promised)} problems are missing, the first is {missing[0]}"


def test_no_winner_overwrites_its_operands(slug):
    """Triton's code of such configs is wrong now and then; scripts/ship.py leaves them aside."""
    for one in records(slug):
        if one.kernel in ("implicit_gemm", "kn2row", "packed"):
            config = config_from_json(load(one.kernel), one.config)
            assert not overwrites(one.kernel, config, by_slug(slug).capability), one


def test_suites_are_named(slug):
    """The view suite_winners finds the layers of kernelbench by their ids."""
    connection = sqlite3.connect(f"{SHIPPED[slug].absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        ids = {row[0] for row in connection.execute("SELECT DISTINCT suite_id FROM suite_winners WHERE suite = 'kernelbench'")}  # fmt: skip
    finally:
        connection.close()
    known = {entry.id for entry in load_suite("kernelbench")}
    assert ids <= known if slug == OF_MODELS else ids == known
