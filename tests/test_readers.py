"""Small files in the real formats with planted answers, and files that are not as they should be."""

from __future__ import annotations

import csv
import io
import json
import pickle
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bytemlperf.datasets import SOURCES, Dataset, open_dataset, words
from bytemlperf.datasets.criteo import CATEGORIES, NUMBERS, bucket
from bytemlperf.datasets.digits import split
from bytemlperf.datasets.images import Transform
from bytemlperf.datasets.pickles import read_pickle
from bytemlperf.datasets.text import open_tokenizer, token_input
from bytemlperf.datasets.words import cut_words_first
from bytemlperf.engine.sampling import run_samples
from bytemlperf.errors import UsageError
from bytemlperf.extras import MissingExtra
from bytemlperf.screen import Step
from bytemlperf.zoo import Card, load_card

Image = pytest.importorskip("PIL.Image")

Backend = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def card(dataset: str, inputs: list[dict[str, Any]], **preprocessing: Any) -> Card:
    return Card.model_validate(
        {
            "name": f"own-{dataset}", "title": "t", "domain": "d", "purpose": "p",
            "framework": "onnx", "format": "onnx", "inputs": inputs, "outputs": ["out"],
            "dataset": dataset, "preprocessing": preprocessing, "max_batch_size": 64,
            "builder": "b", "parameters": 1,
        }
    )  # fmt: skip


def model(of: Card, tokenizer: Path | None = None) -> Any:
    return SimpleNamespace(card=of, tokenizer=tokenizer)


SWIN = {"resize": 8, "crop": 8, "interpolation": "bicubic", "mean": [0.5] * 3, "std": [0.5] * 3}
IMAGENET = card(
    "imagenet", [{"name": "x", "shape": [3, 8, 8], "dtype": "float32"}], classes=1000, **SWIN
)
BACKGROUND = card(
    "imagenet",
    [{"name": "x", "shape": [8, 8, 3], "dtype": "float32"}],
    classes=1001, resize=8, crop=8, scale=1, mean=[100, 100, 100], layout="NHWC",
)  # fmt: skip
CIFAR = card(
    "cifar100",
    [
        {"name": "image", "shape": [3, 8, 8], "dtype": "float32"},
        {"name": "text", "shape": [100, 77], "dtype": "int64", "batched": False,
         "content": "token_ids", "pad": 9},
    ],
    resize=8, crop=8, prompt="a photo of a {}.",
)  # fmt: skip
CRITEO = card(
    "criteo",
    [
        {"name": "categories", "shape": [26, 2], "dtype": "int64"},
        {"name": "numbers", "shape": [13], "dtype": "float32"},
    ],
    buckets=1000, minimum=[0] * 13, maximum=[10] * 13,
)  # fmt: skip
CAIL = card(
    "cail2019",
    [
        {"name": "segments", "shape": [64], "dtype": "float32", "content": "segments"},
        {"name": "tokens", "shape": [64], "dtype": "float32", "content": "token_ids", "pad": 1},
    ],
)


def everything(
    data: Dataset, backend: Backend, batch: int, names: Sequence[str] = ("out",)
) -> dict[str, Any]:
    """What the engine does: every sample once, through the generator, then the score."""
    samples = list(range(len(data)))
    task: Any = SimpleNamespace(dataset=data, batch_sizes=(batch,))
    outputs = run_samples(task, backend, samples, 2, Step(None, None))
    return data.score(samples, {n: np.stack([outputs[s][n] for s in samples]) for n in names})


def same_at_every_batch_size(
    data: Dataset, backend: Backend, names: Sequence[str] = ("out",)
) -> dict[str, Any]:
    """Batches of 1, 3 and 8, where the last one is a tail, give one and the same result."""
    assert len(data) % 3
    assert len(data) % 8
    found = [everything(data, backend, batch, names) for batch in (1, 3, 8, len(data))]
    assert all(f == found[0] for f in found)
    return found[0]


# SQuAD: the model answers with what stands in brackets; a token is a byte here.

SQUAD = load_card("roberta-torch-fp32")


def reading_test(folder: Path) -> Path:
    """Five paragraphs with two questions each: one is answered by the brackets, one in part."""
    paragraphs = []
    for i in range(5):
        context = f"{'before ' * 38 * i}[low tide {i}] {'after ' * 50}"
        first = context.index("low")
        answers = [f"low tide {i}", "tide"]
        paragraphs.append(
            {
                "context": context,
                "qas": [
                    {"id": f"{i}-{j}", "question": f"What, {i}?",
                     "answers": [{"answer_start": first + at, "text": answers[j]}]}
                    for j, at in enumerate((0, 4))
                ],
            }
        )  # fmt: skip
    file = folder / SOURCES["squad"].files[0][0]
    file.parent.mkdir()
    file.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    return folder


def reads_brackets(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    tokens = open_tokenizer(None)
    ids = feeds[token_input(SQUAD).name]
    opened, closed = (ids == tokens.token_to_id(mark) for mark in "[]")
    return {
        "start_logits": 9.0 * np.roll(opened, 1, axis=1).astype(np.float32),
        "end_logits": 9.0 * np.roll(closed, -1, axis=1).astype(np.float32),
    }


def test_squad(tmp_path: Path, empty_cache: Path) -> None:
    data = open_dataset(model(SQUAD), data_dir=reading_test(tmp_path))
    found = same_at_every_batch_size(data, reads_brackets, SQUAD.outputs)
    assert len(data) > 10
    assert found["Exact Match"].value == 50.0
    assert found["Exact Match"].n == 10
    # "tide" of "low tide 3": precision 1/3, recall 1.
    assert found["F1 Score"].value == pytest.approx(100.0 * (1.0 + 0.5) / 2)


# Digits: the pictures come with scikit-learn; the model knows them, and takes some for the next.


def test_digits() -> None:
    pytest.importorskip("sklearn")
    _, (images, labels) = split()
    wrong = np.arange(len(labels)) % 5 == 0
    said = dict(zip((p.tobytes() for p in images), (labels + wrong) % 10, strict=True))

    def predict(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": np.eye(10, dtype=np.float32)[[said[x.tobytes()] for x in feeds["image"]]]}

    data = open_dataset(model(load_card("digits-onnx-fp32")))
    found = same_at_every_batch_size(data, predict, ("logits",))
    assert found["Top-1"].value == (539 - 108) / 539
    assert found["Top-1"].n == 539


# ImageNet: a picture of one grey level; the model reads it and knows which class it means.

LABELS = [3, 999, 0, 500, 41, 7, 7, 250, 12, 77]


def pictures(folder: Path, *, tar: bool, count: int = len(LABELS)) -> Path:
    home = folder / "open_imagenet"
    home.mkdir(parents=True, exist_ok=True)
    files = {}
    for i in range(count):
        stream = io.BytesIO()
        size = (20 + i, 30 - i)
        Image.new("L" if i % 2 else "RGB", size, _grey(i)).save(stream, "PNG")
        files[f"ILSVRC2012_val_{i:08d}.JPEG"] = stream.getvalue()
    if tar:
        with tarfile.open(home / "ILSVRC2012_img_val.tar", "w") as archive:
            for name, data in reversed(files.items()):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    else:
        (home / "ILSVRC2012_img_val").mkdir(exist_ok=True)
        for name, data in files.items():
            (home / "ILSVRC2012_img_val" / name).write_bytes(data)
    lines = [f"{name} {LABELS[i]}" for i, name in enumerate(files)]
    (home / "val_map.txt").write_text("\n".join(lines) + "\n")
    return folder


def _grey(i: int) -> Any:
    return 10 + 20 * i if i % 2 else (10 + 20 * i,) * 3


def classifier(of: Card) -> Backend:
    """Right for the first six pictures; second place for the next two; wrong for the others."""
    shift = of.preprocessing["classes"] - 1000

    def predict(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        x = feeds["x"]
        level = x.reshape(len(x), -1).mean(axis=1)
        grey = level * 127.5 + 127.5 if shift == 0 else level + 100
        which = np.rint((grey - 10) / 20).astype(int)
        out = np.full((len(x), 1000 + shift), -5.0, np.float32)
        for row, i in enumerate(which):
            if i < 8:
                out[row, LABELS[i] + shift] = -1.0
            if i >= 6:
                out[row, 700 + i] = -0.5
        return {"out": out}

    return predict


@pytest.mark.parametrize("tar", [False, True])
@pytest.mark.parametrize("of", [IMAGENET, BACKGROUND], ids=["1000", "1001"])
def test_imagenet(of: Card, tar: bool, tmp_path: Path, empty_cache: Path) -> None:
    data = open_dataset(model(of), data_dir=pictures(tmp_path, tar=tar))
    found = same_at_every_batch_size(data, classifier(of))
    assert found["Top-1"].value == 0.6
    assert found["Top-5"].value == 0.8
    assert found["Top-1"].n == 10
    again = open_dataset(model(of), data_dir=tmp_path)
    np.testing.assert_array_equal(again.feeds([4, 1])["x"], data.feeds([4, 1])["x"])


def test_a_picture_that_is_replaced_is_read_again(tmp_path: Path, empty_cache: Path) -> None:
    home = pictures(tmp_path, tar=False) / "open_imagenet" / "ILSVRC2012_img_val"
    before = open_dataset(model(IMAGENET), data_dir=tmp_path).feeds([0])["x"]
    first = home / "ILSVRC2012_val_00000000.JPEG"
    first.write_bytes((home / "ILSVRC2012_val_00000004.JPEG").read_bytes())
    after = open_dataset(model(IMAGENET), data_dir=tmp_path).feeds([0, 4])["x"]
    np.testing.assert_array_equal(after[0], after[1])
    assert (before[0] != after[0]).all()


def test_a_transform_is_that_of_the_field() -> None:
    """Shorter side to ``resize``, centre crop, (x / scale - mean) / std."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 61, 3)).astype(np.uint8)
    settings = {"resize": 20, "crop": 16, "interpolation": "bicubic", "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225]}  # fmt: skip
    transform = Transform.model_validate(settings)
    found = transform.inputs(transform.pixels(pixels)[None], np.float32)
    resized = Image.fromarray(pixels).resize((30, 20), Image.Resampling.BICUBIC)
    expected = np.asarray(resized.crop((7, 2, 23, 18)), np.float64) / 255
    expected = (expected - settings["mean"]) / settings["std"]
    assert found.shape == (1, 3, 16, 16)
    np.testing.assert_allclose(found[0], expected.transpose(2, 0, 1), atol=2e-6)


def test_a_crop_is_never_padded() -> None:
    with pytest.raises(UsageError, match="crop: cannot be 384"):
        Transform.of(card("imagenet", [], resize=256, crop=384))
    with pytest.raises(UsageError, match="resize: Field required"):
        Transform.of(card("imagenet", [], crop=384))


# CIFAR-100: the picture's first byte is its class.


def cifar(folder: Path, labels: Sequence[int], *, protocol: int = 2) -> Path:
    home = folder / "open_cifar" / "cifar-100-python"
    home.mkdir(parents=True, exist_ok=True)
    data = np.stack([np.full(3072, 2 * label, np.uint8) for label in labels])
    test = {b"data": data, b"fine_labels": list(labels), b"coarse_labels": [0] * len(labels),
            b"filenames": [b"x.png"] * len(labels), b"batch_label": b"testing"}  # fmt: skip
    (home / "test").write_bytes(pickle.dumps(test, protocol))
    names = {b"fine_label_names": [f"class_{i}".encode() for i in range(100)]}
    (home / "meta").write_bytes(pickle.dumps(names, protocol))
    return folder


def zero_shot(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    assert feeds["text"].shape == (100, 77)
    level = np.rint(feeds["image"].reshape(len(feeds["image"]), -1).mean(axis=1) * 127.5)
    guess = np.where(level < 40, level, level + 1).astype(int)
    return {"out": np.eye(102, dtype=np.float32)[guess][:, :100]}


def test_cifar_100(tmp_path: Path, empty_cache: Path) -> None:
    labels = [0, 7, 13, 39, 40, 99, 7, 20, 41, 22, 5]
    data = open_dataset(model(CIFAR), data_dir=cifar(tmp_path, labels))
    found = same_at_every_batch_size(data, zero_shot)["Top-1"]
    assert (found.value, found.n) == (8 / 11, 11)
    text = data.feeds([0])["text"]
    assert text.dtype == np.int64
    assert len({tuple(row) for row in text}) == 100
    assert (text[0] == 9).any()  # padded as the card says
    ready = np.arange(7700).reshape(100, 77)
    np.save(tmp_path / "open_cifar/cifar-100-python/text.npy", ready)
    again = open_dataset(model(CIFAR), data_dir=tmp_path)
    np.testing.assert_array_equal(again.feeds([0])["text"], ready)


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    """Byte strings as Python 2 wrote them, and an array under numpy's old module name."""
    array = np.arange(6, dtype=np.uint8)
    text = pickle.dumps({"data": array}, 2)
    old = text.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    old = old.replace(b"X\x04\x00\x00\x00data", b"U\x04data")
    assert old != text
    (tmp_path / "old").write_bytes(old)
    found = read_pickle(tmp_path / "old")
    np.testing.assert_array_equal(found[b"data"], array)


# Criteo: the first number says how likely a click is.


def criteo(folder: Path, rows: Sequence[Sequence[Any]]) -> Path:
    home = folder / "open_criteo_kaggle"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "eval.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def row(label: Any, first: Any = "", category: str = "") -> list[Any]:
    return [label, first, *[""] * (NUMBERS - 1), category, *[""] * (CATEGORIES - 1)]


def clicks(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    p = feeds["numbers"][:, 0]
    return {"out": np.stack([1 - p, p], axis=1)}


def test_criteo(tmp_path: Path, empty_cache: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    scores = [1, 9, 3, 8, 7, 2, 6, 4, 3, 9, 1]
    labels = [0, 1, 0, 1, 0, 1, 1, 0, 0, 1, 1]
    rows = [row(label, score) for label, score in zip(labels, scores, strict=True)]
    data = open_dataset(model(CRITEO), data_dir=criteo(tmp_path, rows))
    found = same_at_every_batch_size(data, clicks)
    p = np.array(scores, np.float32) / np.float32(10)
    assert found["Top-1"].value == 8 / 11
    assert found["AUC"].value == 20.5 / 30  # pairs in their order, a tie counts half
    assert found["AUC"].value == pytest.approx(metrics.roc_auc_score(labels, p), abs=1e-15)
    assert found["Log Loss"].value == pytest.approx(metrics.log_loss(labels, p), rel=1e-6)
    assert {m.n for m in found.values()} == {11}


def test_criteo_fields(tmp_path: Path, empty_cache: Path) -> None:
    file = criteo(tmp_path, [row(1, "5", "68fd1e64"), row("0", "-3", "é"), row(0)])
    feeds = open_dataset(model(CRITEO), data_dir=file).feeds([0, 1, 2])
    assert feeds["numbers"][:, 0].tolist() == pytest.approx([0.5, -0.3, 0.0])
    categories = feeds["categories"]
    assert categories.shape == (3, 26, 2)
    assert categories[0, :, 0].tolist() == list(range(26))
    assert categories[:, 0, 1].tolist() == [bucket(x, 1000) for x in ("68fd1e64", "é", "")]


def test_buckets_are_tensorflows() -> None:
    tensorflow = pytest.importorskip("tensorflow")
    texts = ["", "68fd1e64", "é", *("x" * n for n in (1, 3, 8, 16, 17, 33, 64, 65, 200))]
    theirs = tensorflow.strings.to_hash_bucket_fast(texts, 1000).numpy()
    assert [bucket(x, 1000) for x in texts] == theirs.tolist()


def test_a_large_file_is_read_by_several_processes(
    tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(i % 2, i % 10, f"{i:08x}") for i in range(300)]
    file = criteo(tmp_path, rows)
    whole = open_dataset(model(CRITEO), data_dir=file).feeds(range(300))
    monkeypatch.setattr("bytemlperf.datasets.criteo._BLOCK_BYTES", 2000)
    monkeypatch.setenv("BYTEMLPERF_CACHE", str(tmp_path / "other"))
    shares: list[float] = []
    parts = open_dataset(model(CRITEO), data_dir=file, report=shares.append)
    for name, array in parts.feeds(range(300)).items():
        np.testing.assert_array_equal(array, whole[name])
    assert len(shares) > 5
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    criteo(tmp_path, [*rows[:250], [1, 2, 3]])
    with pytest.raises(UsageError, match=r"eval\.csv:251: 3 columns instead of 40"):
        open_dataset(model(CRITEO), data_dir=tmp_path)


# CAIL2019: the score is the number of tokens that both texts share; bytes are the tokens.

CASES = [
    {"A": "abc", "B": "abcx", "C": "xyz", "label": "B"},
    {"A": "def", "B": "xyz", "C": "defg", "label": "C"},
    {"A": "ghi", "B": "ghi", "C": "xyz", "label": "C"},  # planted wrong
    {"A": "jkl", "B": "xxx", "C": "xyx", "label": "B"},  # a tie is no hit
    {"A": "mno", "B": "mn", "C": "mqq", "label": "B"},
]


def cail(folder: Path, lines: Sequence[str]) -> Path:
    home = folder / "open_cail2019"
    home.mkdir(parents=True, exist_ok=True)
    (home / "test.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def shared_tokens(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    scores = []
    for tokens, segments in zip(feeds["tokens"], feeds["segments"], strict=True):
        first = set(tokens[(segments == 0) & (tokens > 2)])
        scores.append(len(first & set(tokens[(segments == 1) & (tokens > 2)])))
    return {"out": np.array(scores, np.float32)[:, None]}


def test_cail2019(tmp_path: Path) -> None:
    data = open_dataset(model(CAIL), data_dir=cail(tmp_path, [json.dumps(c) for c in CASES]))
    found = same_at_every_batch_size(data, shared_tokens)["Top-1"]
    assert (found.value, found.n) == (3 / 5, 5)
    half = data.select(40.0, seed=1)
    assert len(half) == 4
    assert half[1] == half[0] + 1 == 2 * (half[0] // 2) + 1
    feeds = data.feeds(range(10))
    home = tmp_path / "open_cail2019"
    np.save(home / "batch_token_ids.npy", feeds["tokens"])
    np.save(home / "batch_segment_ids.npy", feeds["segments"])
    ready = open_dataset(model(CAIL), data_dir=tmp_path)
    assert everything(ready, shared_tokens, 4)["Top-1"] == found


def words_vocabulary(folder: Path, *words: str) -> Path:
    """A vocabulary as RoFormer's: single characters, pieces, and the given words."""
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *"北京大学天气今非常好年案",
        "ab",
        "##c",
        "19",
        "##31",
    ]
    file = folder / "vocab.txt"
    file.write_text("\n".join([*tokens, "。", *words]) + "\n", encoding="utf-8")
    return file


TEXT = "北京大学今天天气非常好。ABC 1931年"


@pytest.mark.parametrize(
    ("whole", "tokens"),
    [
        # A vocabulary without words: characters, as BERT has them.
        ((), [*"北京大学今天天气非常好。", "ab", "##c", "19", "##31", "年"]),
        (
            ("北京大学", "非常", "北京", "天天"),  # jieba cuts 北京大学 | 今天天气 | 非常 | 好
            ["北京大学", *"今天天气", "非常", "好", "。", "ab", "##c", "19", "##31", "年"],
        ),
    ],
)
def test_words_of_the_vocabulary_are_tokens(
    tmp_path: Path, whole: tuple[str, ...], tokens: list[str]
) -> None:
    tokenizer = open_tokenizer(words_vocabulary(tmp_path, *whole))
    assert cut_words_first(tokenizer) == bool(whole)
    encoding = tokenizer.encode(TEXT)
    assert encoding.tokens == ["[CLS]", *tokens, "[SEP]"]
    spans = [TEXT[a:b].lower() for a, b in encoding.offsets[1:-1]]
    assert spans == [token.removeprefix("##") for token in tokens]


def test_cail2019_is_cut_into_words_by_jieba(tmp_path: Path) -> None:
    case = {"A": "北京大学", "B": "今天天气非常好", "C": "年", "label": "B"}
    facts = model(CAIL, words_vocabulary(tmp_path, "北京大学", "非常"))
    folder = cail(tmp_path, [json.dumps(case, ensure_ascii=False)])
    data = open_dataset(facts, data_dir=folder)
    vocabulary = (tmp_path / "vocab.txt").read_text(encoding="utf-8").split("\n")
    row = data.feeds([0])["tokens"][0]
    expected = ["[CLS]", "北京大学", "[SEP]", *"今天天气", "非常", "好", "[SEP]"]
    assert [vocabulary[int(i)] for i in row[: len(expected)]] == expected


def test_a_vocabulary_of_words_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    monkeypatch.setattr("bytemlperf.datasets.words._jieba", words._jieba.__wrapped__)
    with pytest.raises(MissingExtra, match=r"needs the package 'jieba': .*bytemlperf\[data\]"):
        cut_words_first(open_tokenizer(words_vocabulary(tmp_path, "北京大学")))


# What is broken gives one clear error, and executes nothing.


class Payload:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('executed')",)


def _text(path: str, content: str | bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def _then(*steps: Callable[[Path], Any]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for step in steps:
            step(folder)

    return write


PIXELS = "open_cifar/cifar-100-python/test"
LINE = json.dumps(CASES[0])


@pytest.mark.parametrize(
    ("of", "write", "message"),
    [
        (IMAGENET, _then(lambda f: pictures(f, tar=False),
                         _text("open_imagenet/val_map.txt", "gone.JPEG 3\n")),
         r"the picture gone\.JPEG of .*val_map\.txt is missing"),
        (IMAGENET, _then(lambda f: pictures(f, tar=False),
                         _text("open_imagenet/val_map.txt", "a.JPEG 1000\n")),
         r"val_map\.txt:1: expected 'NAME LABEL'"),
        (IMAGENET, _then(lambda f: pictures(f, tar=False),
                         _text("open_imagenet/val_map.txt", b"\xff\xfe 3\n")), "not UTF-8"),
        (IMAGENET, _then(lambda f: pictures(f, tar=False),
                         _text("open_imagenet/ILSVRC2012_img_val/ILSVRC2012_val_00000000.JPEG",
                               "no picture")), r"00000000\.JPEG: not a picture"),
        (IMAGENET, _then(lambda f: pictures(f, tar=False),
                         lambda f: _cut(f / "open_imagenet/ILSVRC2012_img_val"
                                            "/ILSVRC2012_val_00000000.JPEG", 70)),
         r"00000000\.JPEG: not a picture"),
        (IMAGENET, _then(_text("open_imagenet/ILSVRC2012_img_val.tar", "x" * 700),
                         _text("open_imagenet/val_map.txt", "a 1\n")), "not a whole .* tar"),
        (CIFAR, _then(lambda f: cifar(f, [1]), _text(PIXELS, pickle.dumps(Payload()))),
         r"asks for builtins\.exec, which is refused"),
        (CIFAR, _then(lambda f: cifar(f, [1]),
                      _text(PIXELS, pickle.dumps({b"data": Payload(), b"fine_labels": []}, 2))),
         r"exec, which is refused"),
        (CIFAR, _then(lambda f: cifar(f, [1, 2]), lambda f: _cut(f / PIXELS, 900)),
         "test: not a pickle of plain data"),
        (CIFAR, _then(lambda f: cifar(f, [1]), _text(PIXELS, pickle.dumps({b"data": 1}, 2))),
         "has no 'fine_labels'"),
        (CIFAR, _then(lambda f: cifar(f, [1]),
                      _text(PIXELS, pickle.dumps({b"data": 1, b"fine_labels": [1]}, 2))),
         "'data' is not an array"),
        (CIFAR, lambda f: cifar(f, [100]), "a label is above the 100 names"),
        (CRITEO, lambda f: criteo(f, [row(1), row(0)[:-1]]), r"eval\.csv:2: 39 columns"),
        (CRITEO, lambda f: criteo(f, [row(1, "x")]), r"eval\.csv:1: could not convert"),
        (CRITEO, lambda f: criteo(f, [row(2)]), r"eval\.csv:1: the label is 0 or 1, not '2'"),
        (CRITEO, _text("open_criteo_kaggle/eval.csv", b"1,2\n3,\xff\n"), r"eval\.csv:2: not UTF-8"),
        (CRITEO, _text("open_criteo_kaggle/eval.csv", b""), "holds no rows"),
        (CAIL, lambda f: cail(f, [LINE, LINE[:-9]]), r"test\.json:2: not JSON"),
        (CAIL, lambda f: cail(f, ['{"A": "x", "B": "y"}']), r"test\.json:1: .* 'A', 'B' and 'C'"),
        (CAIL, lambda f: cail(f, ['{"A": "x", "B": "y", "C": "z", "label": "A"}']), "'B' or 'C'"),
        (CAIL, _text("open_cail2019/test.json", LINE.encode() + b"\xff\n"), "not UTF-8"),
        (CAIL, _text("open_cail2019/batch_token_ids.npy", "x"), "not a numpy array of token ids"),
    ],
)  # fmt: skip
def test_a_broken_file_is_one_clear_error(
    of: Card, write: Callable[[Path], None], message: str, tmp_path: Path, empty_cache: Path
) -> None:
    write(tmp_path)
    with pytest.raises(UsageError, match=message) as raised:
        open_dataset(model(of), data_dir=tmp_path).feeds([0])
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


def _cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


@pytest.mark.parametrize("of", [IMAGENET, CIFAR, CRITEO, CAIL], ids=lambda c: str(c.dataset))
def test_missing_files_say_where_they_go_and_a_sample_runs_when_asked(
    of: Card, tmp_path: Path, empty_cache: Path
) -> None:
    first = SOURCES[str(of.dataset)].files[0][0]
    with pytest.raises(UsageError, match=f"{first}.* --data_dir.*--sample_data"):
        open_dataset(model(of))
    with pytest.raises(UsageError, match=f"lacks {first}"):
        open_dataset(model(of), data_dir=tmp_path)
    sample = open_dataset(model(of), sample_data=True)
    assert sample.sample_data
    assert "sample of our own" in sample.name
    feeds = sample.feeds(range(5))
    for tensor in of.inputs:
        expected = (5, *tensor.shape) if tensor.batched else tensor.shape
        assert feeds[tensor.name].shape == expected
        assert feeds[tensor.name].dtype == tensor.dtype


def test_a_real_model_agrees_at_every_batch_size(tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("sklearn")
    from bytemlperf.numeric import compare
    from bytemlperf.zoo import open_model

    digits = open_model("digits-onnx-fp32")
    data = open_dataset(digits)
    session = ort.InferenceSession(str(digits.path), providers=["CPUExecutionProvider"])

    def predict(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": session.run(["logits"], dict(feeds))[0]}

    samples = data.select(20.0, seed=3)[:-1]
    assert len(samples) % 3
    assert len(samples) % 8
    found = []
    for batch in (1, 3, 8):
        task: Any = SimpleNamespace(dataset=data, batch_sizes=(batch,))
        found.append(run_samples(task, predict, samples, 2, Step(None, None)))
    scores = [
        data.score(samples, {"logits": np.stack([o[s]["logits"] for s in samples])}) for o in found
    ]
    assert scores[0] == scores[1] == scores[2]
    for other in found[1:]:
        assert compare(found[0], other).within(digits.card.tolerance)
