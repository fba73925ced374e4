from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bytemlperf import jsonc
from bytemlperf.device import Deterministic, SimulatedDevice
from bytemlperf.errors import UsageError
from bytemlperf.load import Load
from bytemlperf.loadgen import LoadGenerator
from bytemlperf.patterns import Constant, Pattern, Poisson, Ramp, Steps
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
        ("offline:batch_size=8:500", "offline", None),
        ("(poisson:100/s + constant:5/s):30s", "sum", None),
        ("(poisson:100/s + constant:5/s,clients=2),batch_size=8:500", "sum", None),
        ("ramp:0/s,stop=100/s:10s then poisson:100/s:30s", "sequence", None),
        ("(ramp:0/s,stop=100/s:10s then poisson:100/s):500", "sequence", None),
        ("((ramp:0/s,stop=9/s:10s then poisson:9/s) + constant:1/s):30s", "sum", None),
        ("(poisson:9/s + constant:1/s):5s then steps:1/s*2s", "sequence", None),
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
        ("(poisson:100/s + constant:5/s):30s", 3150, 30),
        ("(poisson:100/s + constant:5/s):77", 77, None),
        ("ramp:0/s,stop=100/s:10s then poisson:100/s:30s", 3500, 40),
        ("(ramp:0/s,stop=100/s:10s then poisson:100/s):30s", 2500, 30),
        ("poisson:10/s:5s then (poisson:9/s + constant:1/s):5s then steps:1/s*2s", 102, 12),
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
        ("poisson:100", "a rate such as 100/s, not '100'"),
        ("poison:1/s:1s", "did you mean 'poisson'"),
        ("poisson:0/s:1s", "rate: .*greater than 0"),
        ("poisson:100:1s", "a rate such as 100/s, not '100'"),
        ("poisson:100/s:1 hour", "expected 'then' or the end, not 'hour'"),
        ("gamma:100/s,vc=2:30s", "unknown figure 'vc'; did you mean 'cv'"),
        ("gamma:100/s:30s", "'cv' is missing"),
        ("gamma:100/s,cv=99:30s", "cv must lie between"),
        ("poisson:100/s,cv=2:30s", "unknown figure 'cv'"),
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


def test_compositions_run_the_library_s_own_patterns() -> None:
    def run(text: str) -> Pattern:
        return Load.parse(text).run_pattern

    assert run("(poisson:9/s + constant:1/s,clients=2 + poisson:2/s):5s") == (
        Poisson(9) + Constant(1, clients=2) + Poisson(2)
    )
    assert run("ramp:0/s,stop=9/s:10s then poisson:9/s:5s then constant:1/s:1s") == (
        Ramp(0, 9).then(Poisson(9).then(Constant(1), after=5), after=10)
    )
    assert run("steps:1/s*2s then (poisson:9/s + constant:1/s):5s") == (
        Steps([(1, 2)]).then(Poisson(9) + Constant(1))
    )
    device = SimulatedDevice(Deterministic(1e-4))
    load = Load.parse("ramp:0/s,stop=100/s:10s then (poisson:90/s + constant:10/s):20s")
    with LoadGenerator(device, clock="virtual") as gen:
        result = gen.run(load.run_pattern, queries=load.queries, duration=load.duration)
    assert result.duration == pytest.approx(30)
    assert result.planned == pytest.approx(load.planned, rel=0.1)


def test_arrivals_of_a_function_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "my gaps.py"
    file.write_text("import numpy as np\ndef gaps(rng, n):\n    return np.full(n, 0.25)\n")
    load = Load.parse(f'arrivals:"{file}",function=gaps:10s')
    assert Load.parse(str(load)) == load
    assert load.planned == pytest.approx(40)
    with LoadGenerator(SimulatedDevice(Deterministic(1e-4)), clock="virtual") as gen:
        assert gen.run(load.run_pattern, duration=load.duration).planned == 39
    with pytest.raises(UsageError, match=r"no function 'gap'; did you mean 'gaps'"):
        Load.parse(f'arrivals:"{file}",function=gap:10s')
    file.write_text("import absent_module")
    with pytest.raises(UsageError, match="cannot be imported: ModuleNotFoundError"):
        Load.parse(f'arrivals:"{file}",function=gaps:10s')


@pytest.mark.parametrize(
    ("text", "mark", "message"),
    [
        ("poison:1/s:1s", "poison", "unknown pattern 'poison'"),
        ("gamma:100/s,vc=2:30s", "vc", "unknown figure"),
        ("gamma:100/s,cv=two:30s", "two", "expected a number, not 'two'"),
        ("poisson:0/s:1s", "0/s", "rate: Input should be greater than 0"),
        ("poisson:1/s:1s:2s", ":2s", "expected 'then' or the end"),
        ("(poisson:1/s + constant:0/s):1s", "0/s", "rate"),
        ("(poisson:1/s + poisson):1s", "poisson)", "'rate' is missing"),
        ("(poisson:1/s + constant:1/s", "", r"expected '\+', 'then' or '\)'"),
        ("poisson:1/s + constant:1/s:5s", "+", "a sum stands in parentheses"),
        ("(poisson:1/s:5s + constant:1/s):5s", "(p", "part 1 of the sum .*stands behind"),
        ("(poisson:1/s:5s then constant:1/s + poisson:1/s):5s", "+", "sequence within a sum"),
        ("poisson:1/s then constant:1/s:5s", "poisson", "every part but the last"),
        ("poisson:1/s:5s then constant:1/s:5", "poisson", "said of the whole load"),
        ("poisson:1/s:5s then constant:1/s", "poisson", "sequence takes"),
        ("(poisson:1/s:5s then constant:1/s:5s):9s", "(", "says already"),
        ("poisson:1/s,batch_size=8:5s then constant:1/s:5s", "8", "one for the whole load"),
        ("(poisson:1/s + offline):5s", "(", "everything at once"),
        ("(poisson:1/s + constant:1/s),clients=2:5s", "(", "clients is a figure of the parts"),
        ("sum:5s", "sum", "unknown pattern 'sum'"),
        ('replay:"a', '"', "a quote is not closed"),
        ("poisson:1/s then", "", "unknown pattern ''"),
    ],
)
def test_errors_point_at_the_column(text: str, mark: str, message: str) -> None:
    at = text.index(mark) if mark else len(text)
    with pytest.raises(UsageError, match=message) as caught:
        Load.parse(text)
    first, shown, pointer = str(caught.value).split("\n")
    assert f"column {at + 1}:" in first
    assert shown == f"  {text}"
    assert pointer == "  " + " " * at + "^"


rates = st.floats(1.0, 1e6)
times = st.floats(1.0, 1e4)


def plain_parts(**more: Any) -> st.SearchStrategy[dict[str, Any]]:
    def of(pattern: str, **figures: Any) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({"pattern": st.just(pattern)} | figures | more)

    return st.one_of(
        of("poisson", rate=rates),
        of("constant", rate=rates, clients=st.integers(1, 4)),
        of("gamma", rate=rates, cv=st.floats(0.1, 10)),
        of("onoff", rate_on=rates, rate_off=rates, mean_on_s=times, mean_off_s=times),
        of("ramp", start=rates, stop=rates),
    )


def composed(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Sums, and sequences whose last part goes on."""

    def sequence(first: list[dict[str, Any]], seconds: float, last: dict[str, Any]) -> Any:
        before = [part | {"duration_s": seconds} for part in first]
        return {"pattern": "sequence", "parts": [*before, last]}

    return st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(lambda p: {"pattern": "sum", "parts": p}),
        st.builds(sequence, st.lists(inner, min_size=1, max_size=2), times, inner),
    )


@settings(max_examples=50)
@given(
    st.recursive(plain_parts(), composed, max_leaves=6),
    st.integers(1, 64),
    st.floats(1e5, 1e6),
)
def test_a_load_is_read_back_from_what_it_is_spelt_as(
    part: dict[str, Any], batch_size: int, seconds: float
) -> None:
    load = Load.model_validate(part | {"batch_size": batch_size, "duration_s": seconds})
    assert Load.parse(str(load)) == load
    assert Load.model_validate_json(load.model_dump_json()) == load


@given(st.text(alphabet='(): ,=+"then0159/smpoisrcat.e-*', max_size=30))
def test_any_text_is_a_load_or_one_clear_error(text: str) -> None:
    try:
        load = Load.parse(text)
    except UsageError:
        with pytest.raises(UsageError, match=r"column \d+: "):
            Load.parse(text)
    else:
        assert Load.parse(str(load)) == load


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
