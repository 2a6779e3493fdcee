import json

import pytest

from tunedb.cli.shapes import entry_from_shapes
from tunedb.device import by_slug
from tunedb.errors import DeviceError, ProblemError, SuiteError
from tunedb.suite import load_suite
from tunedb.tune import selection
from tunedb.tune.selection import history_beside, select, target


def test_default_is_every_shipped_suite():
    """Without a suite an operation is swept on all that are shipped, each problem once and with a name."""
    chosen = select("conv_transpose2d", layouts=["channels_first"])
    assert set(chosen.suites) == {"kernelbench", "models"}
    assert len(set(chosen.problems)) == len(chosen.problems) == len(set(chosen.labels.values()))
    assert {problem.op for problem in chosen.problems} == {"conv_transpose2d"}
    assert "kb81 float32 channels_first" in chosen.labels.values()


def test_whole_suite():
    """The kernelbench suite has 136 problems in two dtypes and two layouts, 1-D ones in one layout only."""
    assert len(select("all", ["kernelbench"]).problems) == 136


def test_filters():
    """Ids and the batch size keep what they name."""
    assert {p.n for p in select("conv_transpose1d", ["models"], batch=1).problems} == {1}
    chosen = select(
        "all", ["kernelbench"], only=["kb81", "kb57"], dtypes=["float16"], layouts=["channels_last"]
    )
    assert sorted(chosen.labels.values()) == ["kb57 float16 channels_last", "kb81 float16 channels_last"]
    assert len(chosen.suites["kernelbench"]) == 37


def test_one_shape():
    """A shape is swept as it is, in the precision asked for, and belongs to no suite."""
    shape = entry_from_shapes("conv1d", "1x4x9", "8x4x3", {})
    chosen = select("conv1d", shape=shape, dtypes=["float32"], layouts=["channels_first"], precision="ieee")
    assert chosen.problems == [shape.problem("float32", "ieee")]
    assert chosen.suites == {}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"op": "conv9d"}, ProblemError, "op must be one of conv1d, .* or all, but got 'conv9d'"),
        (
            {"op": "all", "dtypes": ["float64"]},
            ProblemError,
            "dtype must be among float32, float16, bfloat16, but got 'float64'",
        ),
        (
            {"op": "all", "layouts": ["nhwc"]},
            ProblemError,
            "layout must be among channels_first, channels_last, but got 'nhwc'",
        ),
        (
            {"op": "all", "suites": ["nothing"]},
            SuiteError,
            "suite must be one of kernelbench, models or a JSON file",
        ),
        (
            {"op": "all", "only": ["kb999"]},
            SuiteError,
            "an id must stand in one of the suites kernelbench, models, but got kb999",
        ),
        (
            {"op": "conv1d", "only": ["kb81"]},
            SuiteError,
            "at least one problem must be left, .* op conv1d, id kb81",
        ),
        ({"op": "all", "batch": 12345}, SuiteError, "at least one problem must be left, .* n 12345"),
        ({"op": "conv1d", "layouts": ["channels_last"]}, ProblemError, "at least one layout must apply"),
    ],
)
def test_nothing_to_do(arguments, error, message):
    """An unknown name, or filters that leave nothing, are refused with what is allowed."""
    with pytest.raises(error, match=message):
        select(**arguments)


def test_ids_of_two_suites(tmp_path):
    """An id that means different layers in two suites gives two names; two suites of one name are refused."""
    entry = load_suite("kernelbench")[0]
    record = {**entry._asdict(), "n": 3}
    del record["line"]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps([record]))
    chosen = select(
        "conv2d", ["kernelbench", str(path)], only=[entry.id], dtypes=["float16"], layouts=["channels_first"]
    )
    assert len(set(chosen.labels.values())) == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.json").write_text("[]")
    with pytest.raises(SuiteError, match="suites must have different names, but 'mine' is given twice"):
        select("conv2d", [str(path), str(tmp_path / "other" / "mine.json")])


@pytest.fixture
def gpus(monkeypatch):
    def have(*slugs):
        monkeypatch.setattr(selection, "gpus_here", lambda: [by_slug(slug) for slug in slugs])

    return have


@pytest.mark.parametrize(
    ("here", "slug", "wanted", "expected"),
    [
        ((), None, "all", ("4090", "predicted", ())),
        ((), "h200", "all", ("h200", "predicted", ())),
        (("h200",), None, "all", ("h200", "measured", (0,))),
        (("h200",), "4090", "all", ("4090", "predicted", ())),
        (("h200", "h200"), "h200", "all", ("h200", "measured", (0, 1))),
        (("h200", "h200"), None, "1", ("h200", "measured", (1,))),
        (("4090", "h200"), None, "all", ("4090", "measured", (0,))),
        (("4090", "h200"), None, "1", ("h200", "measured", (1,))),
        (("4090", "h200", "h200"), "h200", "2,1", ("h200", "measured", (2, 1))),
        (("4090", "h200", "h200"), "h200-sm89", "all", ("h200-sm89", "measured", (1, 2))),
        (("4090",), "h200-sm89", "all", ("h200-sm89", "predicted", ())),
    ],
)
def test_target(gpus, here, slug, wanted, expected):
    """A GPU that is here is measured, on the indices asked for; any other is predicted; without one it is the 4090."""
    gpus(*here)
    found = target(slug, wanted)
    assert (found.device.slug, found.provenance, found.gpus) == expected


@pytest.mark.parametrize(
    ("here", "slug", "wanted", "message"),
    [
        ((), "voodoo", "all", "device must be one of 3090, .* but got 'voodoo'"),
        ((), None, "0", "gpus must be all on a machine without a CUDA GPU, but got '0'"),
        (("h200",), None, "1", "gpus must be all or below 1, but got '1'"),
        (("h200",), None, "one", "gpus must be all or indices such as 0,1, but got 'one'"),
        (("4090", "h200"), "h200", "0", "gpus must be all or among 1, the h200 GPUs here, but got '0'"),
        (("h200",), "h200-sm89", "1", "gpus must be all or among 0, the h200 GPUs here, but got '1'"),
        (("4090",), "4090-sm89", "all", "allowed here: sm80, sm86.*but got 'sm89'"),
    ],
)
def test_no_such_gpu(gpus, here, slug, wanted, message):
    """A GPU that is unknown or not the device's is refused with those that are."""
    gpus(*here)
    with pytest.raises(DeviceError, match=message):
        target(slug, wanted)


def test_history_lies_beside_the_database(tmp_path):
    """The search history is a file beside the database by default."""
    assert history_beside(tmp_path / "tunedb.sqlite") == str(tmp_path / "tunedb.history.log")


def test_captured_layers_are_asked_for_as_they_were(tmp_path):
    """A captured suite is swept in its own dtypes and layouts, all operations, with its calls; options stand over that."""
    path = tmp_path / "model.json"
    shared = {"n": 1, "c_in": 4, "c_out": 8, "groups": 1, "bias": True}
    flat = {
        "spatial_in": [9],
        "kernel": [3],
        "stride": [1],
        "padding": [0],
        "output_padding": [0],
        "dilation": [1],
    }
    deep = {name: 2 * sizes for name, sizes in flat.items()}
    variant = {"dtype": "bfloat16", "precision": "ieee", "layout": "channels_last", "modules": ["up"]}
    path.write_text(
        json.dumps(
            [
                {"id": "up", "op": "conv_transpose2d", **shared, **deep, **variant, "calls": 3},
                {"id": "up#2", "op": "conv_transpose2d", **shared, **deep, **variant, "calls": 2},
                {"id": "plain", "op": "conv1d", **shared, **flat},
            ]
        )
    )
    chosen = select("all", [str(path)])
    found = {(chosen.labels[one], one.dtype, one.layout): chosen.calls[one] for one in chosen.problems}
    assert found == {
        ("up", "bfloat16", "channels_last"): 5,
        ("plain float32 channels_first", "float32", "channels_first"): 1,
        ("plain float16 channels_first", "float16", "channels_first"): 1,
    }
    chosen = select("conv_transpose2d", [str(path)], dtypes=["float32"], precision="ieee")
    assert [(one.dtype, one.precision, one.layout) for one in chosen.problems] == [
        ("float32", "ieee", "channels_last")
    ]
