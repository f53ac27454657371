"""What the fuzzer takes apart it puts together again, and its changes are of the kind it says."""

import io
import pickle
import zipfile
from random import Random

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import corpus, models_made, values
from tests.fuzz.changes import Donors, changed
from tests.fuzz.pickles import operations, pickle_changed
from tests.fuzz.trees import BYTES, VARINT, Field, Message, messages, parsed
from tests.fuzz.zips import TIGHT, Member, opened, written

MODELS = {name: next(iter(files.values())) for name, files in models_made.models()}


@pytest.mark.parametrize("name", MODELS)
def test_a_message_is_written_as_it_was_read(name: str) -> None:
    tree = parsed(MODELS[name])
    assert tree is not None
    assert tree.encoded == MODELS[name]
    assert "GraphProto" in {message.kind for message in messages(tree)}


@given(st.binary(max_size=80))
def test_any_bytes_that_are_read_are_written_again(data: bytes) -> None:
    tree = parsed(data)
    assert tree is None or tree.encoded == data


def test_lengths_follow_what_is_in_them() -> None:
    inner = Message("GraphProto", (Field(2, BYTES, b"g" * 200),))
    outer = Message("ModelProto", (Field(1, VARINT, 10), Field(7, BYTES, inner)))
    assert onnx.ModelProto.FromString(outer.encoded).graph.name == "g" * 200
    lying = outer.with_field(1, outer.fields[1].changed(lie=3))
    assert len(lying.encoded) == len(outer.encoded)
    with pytest.raises(DecodeError):
        onnx.ModelProto.FromString(lying.encoded)


def test_most_changed_models_are_still_messages() -> None:
    trees = [tree for tree in map(parsed, MODELS.values()) if tree is not None]
    donors = Donors(trees)
    whole = different = 0
    for number in range(400):
        chance = Random(number)
        tree = chance.choice(trees)
        data = changed(chance, tree, donors).encoded
        different += data != tree.encoded
        try:
            onnx.ModelProto.FromString(data)
        except DecodeError:
            continue
        whole += 1
    assert different > 360
    assert 240 < whole < 390


@pytest.mark.parametrize("long", [False, True])
def test_archives_are_written_as_zipfile_reads_them(long: bool) -> None:
    members = [
        Member("model/data.pkl", b"1234" * 50),
        Member("model/tight", b"1234" * 50, TIGHT),
        Member("model/described", b"5678", flags=8),
        Member("層", b""),
    ]
    data = written(members, b"a comment", long)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.comment == b"a comment"
    assert [(each.name, each.content, each.method) for each in opened(data)] == [
        (each.name, each.content, each.method) for each in members
    ]


def test_pickles_are_taken_apart_into_operations() -> None:
    for protocol in range(6):
        data = pickle.dumps({"a": [1, 2.5, None, ("b", b"c")]}, protocol)
        assert b"".join(piece for _, piece in operations(data)) == data
        assert len({pickle_changed(Random(number), data) for number in range(20)}) > 10


def test_numbers_and_texts_are_drawn_within_their_width() -> None:
    chance = Random(0)
    for bits in (16, 32, 64):
        drawn = {values.number(chance, 7, bits) for _ in range(500)}
        assert len(drawn) > 40
        assert all(0 <= each < 1 << bits for each in drawn)
    assert len({values.text(chance, b"name") for _ in range(500)}) > 60


def test_the_corpus_is_small_and_sound() -> None:
    found = [*corpus.models(), *corpus.archives(False), *corpus.samples()]
    assert len(found) > 80
    assert max(len(data) for files in found for data in files.values()) < corpus.LARGEST
