"""Models that generate: the networks themselves, token by token, as tasks, and their memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bytemlperf import host, zoo
from bytemlperf.errors import BytemlperfError
from bytemlperf.report.schema import Report
from bytemlperf.zoo.generation import Generator
from bytemlperf.zoo.verify import load_artifact

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

ROWS = ["llama2-7b-torch-fp16", "chatglm2-6b-torch-fp16"]


def network(name: str, **overrides: Any) -> Any:
    from bytemlperf.model_zoo import large_language_model

    card = zoo.load_card(name)
    return large_language_model.network(card, dict(card.config) | dict(card.tiny) | overrides)


@pytest.mark.parametrize("name", ROWS)
def test_the_published_size_without_the_memory(name: str) -> None:
    from bytemlperf.model_zoo import large_language_model

    card = zoo.load_card(name)
    built = large_language_model.build(card, card.config, 0, None)
    assert built.parameters == card.parameters
    assert built.flops_per_sample == 2.0 * card.parameters * 16


@pytest.mark.parametrize("name", ROWS)
def test_seeded_weights_are_the_same_every_time_and_not_vacuous(name: str) -> None:
    model = zoo.open_model(name, preset="tiny")
    assert model.export_difference is None
    assert json.loads(model.path.read_text())["seed"] == 0
    feeds = zoo.synthetic_feeds(model.card, range(2), seed=0)
    first = model.load_source()(feeds)["logits"]
    again = load_artifact(model.card, model.path)(feeds)["logits"]
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all()
    assert first.std() > 0.01
    assert not np.allclose(first[0], first[1], atol=1e-3)
    other = zoo.open_model(name, preset="tiny", seed=1)
    assert other.weights.sha256 != model.weights.sha256
    assert not np.array_equal(other.load_source()(feeds)["logits"], first)


@pytest.mark.parametrize("name", ROWS)
def test_a_cache_changes_nothing(name: str) -> None:
    """Tokens that are fed one by one give what the whole text gives at once."""
    model = zoo.open_model(name, preset="tiny")
    source = model.load_source()
    assert isinstance(source, Generator)
    source.prepare()
    assert source._step is not None
    ids = torch.randint(3, 1000, (2, 9))
    with torch.inference_mode():
        whole, _ = source._step(ids, None)
        part, cache = source._step(ids[:, :5], None)
        for place in range(5, 9):
            part, cache = source._step(ids[:, place : place + 1], cache)
    torch.testing.assert_close(part.float(), whole.float(), atol=5e-3, rtol=1e-2)


def test_tokens_are_timed() -> None:
    source = zoo.open_model(ROWS[0], preset="tiny").load_source()
    assert isinstance(source, Generator)
    feeds = zoo.synthetic_feeds(zoo.load_card(ROWS[0]), range(1), seed=0)
    outputs, times = source.generate(feeds, 5)
    assert times.tokens == 5
    assert 0 < times.first_s < times.last_s
    np.testing.assert_array_equal(outputs["logits"], source(feeds)["logits"])


def test_chatglm2_is_the_published_network() -> None:
    """The same weights in another implementation, that of Kolors' text encoder."""
    kolors = pytest.importorskip("diffusers.pipelines.kolors.text_encoder")
    ours = network(ROWS[1], padded_vocab_size=500).eval()
    config = kolors.ChatGLMConfig(
        num_layers=2, padded_vocab_size=500, hidden_size=64, ffn_hidden_size=128,
        kv_channels=16, num_attention_heads=4, seq_length=64, multi_query_attention=True,
        multi_query_group_num=2, add_qkv_bias=True, add_bias_linear=False, rmsnorm=True,
        layernorm_epsilon=1e-5, post_layer_norm=True, original_rope=True,
        apply_residual_connection_post_layernorm=False, attention_softmax_in_fp32=True,
    )  # fmt: skip
    theirs = kolors.ChatGLMModel(config, empty_init=False).eval()
    state = {name.removeprefix("transformer."): t for name, t in ours.state_dict().items()}
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert [m for m in missing if "rotary" not in m] == []
    assert unexpected == []
    ids = torch.randint(0, 500, (2, 12))
    with torch.no_grad():
        found, _ = ours(ids, None)
        hidden = theirs(input_ids=ids, position_ids=torch.arange(12).expand(2, -1))
        last = hidden.last_hidden_state
        expected = theirs.output_layer(last[-1] if last.shape[0] == 12 else last[:, -1])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


def test_a_checkpoint_is_loaded_by_its_own_names(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    state = {k: v.half().contiguous() for k, v in network(ROWS[1]).state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    model = zoo.open_model(ROWS[1], preset="tiny", weights=tmp_path)
    assert model.weights.kind == "checkpoint"
    feeds = zoo.synthetic_feeds(model.card, range(1), seed=0)
    seeded = zoo.open_model(ROWS[1], preset="tiny").load_source()
    assert not np.array_equal(model.load_source()(feeds)["logits"], seeded(feeds)["logits"])
    del state["transformer.output_layer.weight"]
    save_file(state, tmp_path / "model.safetensors")
    broken = zoo.open_model(ROWS[1], preset="tiny", weights=tmp_path).load_source()
    with pytest.raises(BytemlperfError, match=r"lacks transformer\.output_layer\.weight"):
        broken(feeds)


def test_too_little_memory_is_said_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "available_memory", lambda: 8 << 30)
    card = zoo.load_card(ROWS[0])
    from bytemlperf.model_zoo import large_language_model

    source = large_language_model.build(card, card.config, 0, None).source
    with pytest.raises(BytemlperfError, match=r"needs 13\.6 GiB of memory and 8\.0 GiB are"):
        source(zoo.synthetic_feeds(card, range(1), seed=0))


def test_a_task_reports_first_and_further_tokens(tmp_path: Path, command_line: Any) -> None:
    task = tmp_path / "mine.json"
    task.write_text(
        json.dumps(
            {
                "model": ROWS[1], "test_perf": True, "test_accuracy": False,
                "test_numeric": False, "clients": 1, "iterations": 2, "batch_sizes": [2],
                "data_percent": 100, "compile_only": False, "input_tokens": [4, 12],
                "output_tokens": 3, "warmup_s": 0,
            }
        )
    )  # fmt: skip
    done = command_line("--task", str(task), "--hardware_type", "CPU", "--preset", "tiny")
    assert done.returncode == 0, done.stderr
    found = Report.load(tmp_path / "reports/CPU/chatglm2-6b-torch-fp16/result-fp16.json")
    runs = found.details.performance
    assert [run.generation and run.generation.input_tokens for run in runs] == [4, 12]
    for run in runs:
        tokens = run.generation
        assert tokens is not None
        assert (tokens.output_tokens, tokens.queries, run.batch_size) == (3, 2, 2)
        assert tokens.tpot_ms is not None
        total = tokens.ttft_ms + 2 * tokens.tpot_ms
        assert total == pytest.approx(run.intervals["service_time"].mean_ms, rel=0.25)
        assert tokens.output_tokens_per_second == pytest.approx(3 * run.samples_per_second)
    assert "each further" in done.stdout
