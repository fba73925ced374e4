from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bytemlperf import jsonc
from bytemlperf.errors import UsageError
from bytemlperf.load import Load
from bytemlperf.workload import Workload, list_workloads

# The workload block of the README that this product implements, as it stands there.
SEED = """{
    "model": "bert-torch-fp32",   //The name of the model to be evaluated, which needs to be aligned with the model_zoo name
    "test_perf": true,            //Evaluate model performance
    "test_accuracy": true,        //Evaluate model accuracy
    "test_numeric": true,         //Accuracy：Evaluate model numeric
    "clients": 3,                 //Performance：Client threads that submit data
    "iterations": 100,            //Performance：How many iterations are submitted by each thread
    "batch_sizes":[1,4,8,16,32,64],//Performance：The batch size when each thread submits data
    "data_percent": 50,           //Accuracy：Ratio of data to assess accuracy, [1-100]
    "compile_only": false,           //Compile the model only
}
"""
VALID: dict[str, Any] = json.loads(jsonc.strip_comments(SEED))


def test_the_documented_block_parses_as_it_stands() -> None:
    workload = Workload.parse(SEED, "seed")
    assert workload.model == "bert-torch-fp32"
    assert workload.clients == 3
    assert workload.batch_sizes == (1, 4, 8, 16, 32, 64)
    assert workload.data_percent == 50
    assert not workload.compile_only


def test_the_readmes_workload_is_valid() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    block = readme.split("```javascript\n")[1].split("```")[0]
    assert Workload.parse(block, "README.md").loads[0].rate == 5


@pytest.mark.parametrize("name", list_workloads())
def test_shipped_workloads_are_valid_and_bounded(name: str) -> None:
    assert Workload.load(name).max_duration_s == 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('"iteration": 5,', r"t\.json:2: unknown field 'iteration'; did you mean 'iterations'\?"),
        ('"clients": 0,', r"t\.json:2: clients: .*greater than or equal to 1, not 0"),
        ('"clients": "three",', r"t\.json:2: clients: .*integer.*not 'three'"),
        ('"batch_sizes": [],', r"t\.json:2: batch_sizes: .*at least 1 item"),
        ('"batch_sizes": [1, 0],', r"t\.json:2: batch_sizes\.1: "),
        ('"data_percent": 101,', r"t\.json:2: data_percent: .*100, not 101"),
        ('"load": [{"pattern": "poisson"}],', r"t\.json:2: load\.0: .*'rate'"),
        ('"load": [{"pattern": "poison", "rate": 1, "duration_s": 1}],', r"load\.0\.pattern: "),
        ('"load": [{"pattern": "gamma", "rate": 1, "cvv": 1}],', "did you mean 'cv'"),
        (
            '"load": [{"pattern": "ramp", "start": 1, "stop": 2, "rate": 9, "duration_s": 1}],',
            r"t\.json:2: load\.0: .*'rate' belongs to another pattern",
        ),
        ('"load": [{"pattern": "steps", "steps": [[100]]}],', r"load\.0\.steps\.0"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(change: str, message: str) -> None:
    field = change.split('"')[1]
    others = {k: v for k, v in VALID.items() if k != field}
    text = "{\n" + change + "\n" + json.dumps(others, indent=1)[1:]
    with pytest.raises(UsageError, match=message):
        Workload.parse(text, "t.json")


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        Workload.parse('{"model": 5, "clients": 3}', "t.json")
    message = str(caught.value)
    assert "model" in message
    assert "'iterations' is missing" in message
    assert message.count("\n") >= 5


@pytest.mark.parametrize("text", ["", "[1]", '{"model": }', '{"a": 1, "a": 2}'])
def test_what_is_not_a_json_object_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"t\.json"):
        Workload.parse(text, "t.json")


def test_a_syntax_error_has_its_line() -> None:
    with pytest.raises(UsageError, match=r"t\.json:3: not JSON"):
        Workload.parse('{\n// a comment\n"model": oops}', "t.json")


def test_names_paths_and_folders(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(SEED)
    assert Workload.load("mine", tmp_path).clients == 3
    assert Workload.load(str(tmp_path / "mine.json")).clients == 3
    assert "mine" in list_workloads(tmp_path)
    with pytest.raises(UsageError, match=r"unknown task 'roberta-torch-fp23'; did you mean"):
        Workload.load("roberta-torch-fp23")
    with pytest.raises(UsageError, match="No such file"):
        Workload.load(str(tmp_path / "none.json"))
    with pytest.raises(UsageError, match="no such folder"):
        Workload.load("mine", tmp_path / "none")


def test_flags_are_checked_like_fields() -> None:
    workload = Workload.parse(SEED, "seed")
    changed = workload.with_changes(batch_sizes=[2], clients=1, load=[Load.parse("poisson:5/s:2s")])
    assert changed.batch_sizes == (2,)
    assert changed.loads[0].rate == 5
    with pytest.raises(UsageError, match="--clients"):
        workload.with_changes(clients=0)
    quick = workload.quick()
    assert quick.batch_sizes == (1, 64)
    assert quick.max_duration_s == 5


@pytest.mark.parametrize(
    ("text", "pattern", "rate"),
    [
        ("poisson:100/s:30s", "poisson", 100),
        ("constant:2.5/s:0.5s", "constant", 2.5),
        ("poisson:100/s:500", "poisson", 100),
        ("gamma:100/s,cv=2:30s", "gamma", 100),
        ("gamma:100/s,cv=2,batch_size=8,clients=2:30s", "gamma", 100),
        ("onoff:500/s,rate_off=0/s,mean_on=1s,mean_off=4s:60s", "onoff", None),
        ("ramp:0/s,stop=200/s:60s", "ramp", None),
        ("steps:100/s*10s,0/s*5s", "steps", None),
        ("sine:100/s,amplitude=50/s,period=10s:60s", "sine", None),
        (f"replay:{__file__},speed=2", "replay", None),
        ("offline:500", "offline", None),
    ],
)
def test_loads_on_the_command_line(text: str, pattern: str, rate: float | None) -> None:
    load = Load.parse(text)
    assert (load.pattern, load.rate) == (pattern, rate)
    assert str(load) == text
    assert Load.model_validate(load.model_dump()) == load


def test_times_have_units() -> None:
    assert Load.parse("poisson:1/s:1.5min") == Load.parse("poisson:1/s:90s")
    assert Load.parse("poisson:1/s:500ms") == Load.parse("poisson:1/s:0.5s")


@pytest.mark.parametrize(
    ("text", "planned", "length"),
    [
        ("poisson:100/s:30s", 3000, 30),
        ("offline:500", 500, None),
        ("onoff:500/s,rate_off=50/s,mean_on=1s,mean_off=4s:10s", 1400, 10),
        ("ramp:0/s,stop=200/s:60s", 6000, 60),
        ("steps:100/s*10s,0/s*5s", 1000, 15),
        ("sine:100/s,amplitude=50/s,period=10s:60s", 6000, 60),
    ],
)
def test_a_load_knows_about_how_much_it_plans(
    text: str, planned: float, length: float | None
) -> None:
    load = Load.parse(text)
    assert load.planned == pytest.approx(planned)
    assert load.length_s == length


def test_a_trace_as_a_load(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("0\n1\n3\n")
    load = Load.parse(f"replay:{tmp_path}/trace.csv,speed=2")
    assert load.planned == 3
    assert load.length_s == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("poisson", "expected a rate|takes 'rate', exactly one of"),
        ("poisson:100", "'rate' is missing"),
        ("poison:1/s:1s", "did you mean 'poisson'"),
        ("poisson:0/s:1s", "rate: .*greater than 0"),
        ("poisson:100:1s", "a rate such as 100/s, not '100'"),
        ("poisson:100/s:1 hour", "a time such as 30s"),
        ("gamma:100/s,vc=2:30s", "unknown figure 'vc=2'; did you mean 'cv'"),
        ("gamma:100/s:30s", "'cv' is missing"),
        ("gamma:100/s,cv=99:30s", "cv must lie between"),
        ("poisson:100/s,cv=2:30s", "unknown figure 'cv=2'"),
        ("ramp:1/s,stop=2/s:50", "'duration_s'"),
        ("steps:100/s", "a time such as 30s"),
        ("sine:10/s,amplitude=20/s,period=1s:9s", "amplitude must lie"),
        ("replay:absent.csv", "no such file: absent.csv"),
        ("offline:5s", "offline takes 'queries'"),
        (":", "unknown pattern ''"),
    ],
)
def test_a_wrong_load_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=rf"--load.*({message})"):
        Load.parse(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values)
def test_plain_json_is_left_alone(value: Any) -> None:
    for indent in (None, 1):
        text = json.dumps(value, ensure_ascii=False, indent=indent)
        assert jsonc.strip_comments(text) == text


@given(st.text())
def test_comments_never_reach_into_strings(content: str) -> None:
    text = json.dumps({"a": content}) + "// " + content.replace("\n", " ").replace("\r", " ")
    assert jsonc.loads(text) == {"a": content}


@given(
    st.builds(
        lambda **k: {**VALID, **k},
        clients=st.integers(1, 100),
        iterations=st.integers(1, 10_000),
        batch_sizes=st.lists(st.integers(1, 512), min_size=1, max_size=8),
        data_percent=st.floats(0.1, 100),
        test_perf=st.booleans(),
        slo_ms=st.none() | st.floats(0.1, 1e4),
    )
)
def test_a_valid_workload_survives_its_file(data: dict[str, Any]) -> None:
    workload = Workload.parse(json.dumps(data), "x")
    assert Workload.parse(workload.model_dump_json(by_alias=True), "x") == workload
