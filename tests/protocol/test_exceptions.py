"""A raised exception is sent in a plain form, and made again without the sender's code."""

from __future__ import annotations

import errno
import gc
import json
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path, PurePosixPath
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given

from tests.protocol.samples import arrays, plain
from tests.protocol.test_structure import Things, structures
from varsim.errors import (
    Fix,
    MismatchError,
    MissingName,
    ProtocolError,
    ShapeError,
    StillRunning,
)
from varsim.protocol import exceptions, packer, pickling, structure
from varsim.protocol.codec import decode, encode
from varsim.protocol.exceptions import ShownValue
from varsim.protocol.messages import Payload, Raised, Report
from varsim.protocol.tree import Tag
from varsim.spec import Operation, VariableSynchronization
from varsim.texts.fixes import ChangeSetting, Does
from varsim.texts.refusals import MeanOfIntegers, ShapesDiffer
from varsim.texts.replicas import Group, WaitsIn, WriteAt


def arrived(error: BaseException) -> BaseException:
    """Return an exception after it was sent to another process in an envelope."""
    payload = exceptions.pack(error, Things())
    raised = Raised(call_id=1, exception=payload, traceback="", report=Report())
    (message,) = decode([bytes(frame) for frame in encode([raised])])
    assert isinstance(message, Raised)
    return exceptions.unpack(message.exception, Things())


def raised_by(function: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as caught:
        function()
    return caught.value


class KeywordError(Exception):
    """An error that cannot be made from `args`: `__init__` needs a keyword argument."""

    def __init__(self, *, row: int) -> None:
        super().__init__(f"row {row}")
        self.row = row


class RejectingError(Exception):
    """An error that the receiver must make without a call of the error's own methods."""

    allowed = True

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        assert cls.allowed
        return super().__new__(cls, *args)

    def __init__(self, text: str, more: str) -> None:
        assert self.allowed
        super().__init__(text)
        self.more = more

    def __reduce__(self) -> Any:
        raise AssertionError("it must not be pickled")

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("it must not be unpickled")


class FileProblem(ValueError, OSError):
    """Its constructor is that of OSError, although ValueError is the first base."""


class SlottedError(Exception):
    """An error whose text depends on an attribute without a plain form."""

    def __init__(self, path: PurePosixPath) -> None:
        super().__init__()
        self.path = path

    def __str__(self) -> str:
        return f"cannot read {self.path.name}"


class FormattedError(Exception):
    def __str__(self) -> str:
        return str(getattr(self.args[0], "year", "no year"))


class OpaqueError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Outer:
    class InnerError(LookupError):
        pass


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        LookupError("no such row", 7),
        KeyError("w"),
        OSError(errno.ENOENT, "No such file", "a.csv"),
        OSError(errno.EXDEV, "cross-device", Path("a"), None, Path("b")),
        OSError("only a text"),
        FileProblem(errno.EACCES, "not allowed", "a"),
        UnicodeDecodeError("utf-8", b"a\xff", 1, 2, "invalid start byte"),
        SystemExit(3),
        StopIteration(5),
        GeneratorExit(),
        ModuleNotFoundError("no module", name="x", path="/y"),
        NameError("no name", name="spam"),
        SyntaxError("bad", ("f.py", 3, 1, "a b", 3, 2)),
        json.JSONDecodeError("Expecting value", "[1,", 3),
        ExceptionGroup("several", [ValueError(1), ExceptionGroup("inner", [KeyError("k")])]),
        BaseExceptionGroup("several", [KeyboardInterrupt()]),
        np.exceptions.AxisError(3, 2),
        KeywordError(row=3),
        Outer.InnerError("x"),
        ShapeError("w", "it is too long"),
        StillRunning("replica 1 still runs", (1,)),
        MissingName("tf", "keras"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_arrives_with_its_class_text_arguments_and_attributes(error: Any) -> None:
    got: Any = arrived(error)
    assert (type(error), str(error), repr(error)) == (type(got), str(got), repr(got))
    assert [*vars(error)] == [*vars(got)]
    for name in ("errno", "filename2", "object", "code", "value", "name", "path", "lineno"):
        if hasattr(error, name):
            expected = getattr(error, name)
            assert (name, str(expected)) == (name, str(getattr(got, name)))


@given(structures)
def test_plain_arguments_arrive_unchanged(value: Any) -> None:
    got = arrived(ValueError(value, 1))
    assert (value, 1) == got.args
    assert repr(value) == repr(got.args[0])


@given(arrays)
def test_arrays_in_arguments_arrive(array: Any) -> None:
    assert plain(array) == plain(arrived(ValueError(array)).args[0])


def test_facts_fixes_and_groups_arrive() -> None:
    """The report of a run needs the structured values of an error, too."""
    fix = Fix(
        ChangeSetting(VariableSynchronization.ON_READ),
        Does(Operation.ASSIGN, np.zeros(2, "f4")),
        np.ones(2, "f4"),
    )
    error: Any = ShapeError("w", ShapesDiffer(Operation.ASSIGN, (3,), (None, 2))).fixed_by([fix])
    error.location = "train.py:3"
    got: Any = arrived(error)
    assert (str(error), error.fact) == (str(got), got.fact)
    assert [1, 1] == list(got.fixes[0].value)

    write = WriteAt("w", Operation.ASSIGN, np.dtype("f4"), (2,), "train.py:3")
    groups = (Group((0, 2), WaitsIn(write)), Group((1,), WaitsIn(MeanOfIntegers(np.dtype("i8")))))
    assert groups == arrived(MismatchError("they differ").by_groups(groups)).groups  # type: ignore[attr-defined]


def test_notes_arrive() -> None:
    error = ValueError("x")
    error.add_note("in step 3")
    assert ["in step 3"] == arrived(error).__notes__


def test_an_exceptions_own_methods_are_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RejectingError("a", "b")
    monkeypatch.setattr(RejectingError, "allowed", False)
    got = arrived(error)
    assert isinstance(got, RejectingError)
    assert (("a",), "b") == (got.args, got.more)


def local_error() -> type[Exception]:
    class LocalError(Exception):
        pass

    return LocalError


def test_an_unsent_class_is_found_if_its_name_is_unique() -> None:
    class OnlyError(Exception):
        pass

    assert type(arrived(OnlyError("x"))) is OnlyError
    classes = [local_error(), local_error()]
    with pytest.raises(LookupError, match=r"this process has \d+ exceptions .*LocalError"):
        arrived(classes[0]("x"))


def test_a_class_sent_by_value_is_found_among_namesakes() -> None:
    for cls in (classes := [local_error() for _ in range(3)]):
        pickled, _ = pickling.dumps(cls, Things())
        assert cls is pickling.loads(pickled, [], Things())
    assert classes == [type(arrived(cls("x"))) for cls in classes]


def test_a_class_that_comes_back_does_not_define_another_class() -> None:
    class Parent(Exception):
        pass

    class Child(Parent):
        pass

    pickled, _ = pickling.dumps(Child, Things())
    pickling.loads(pickled, [], Things())
    assert [Child] == Parent.__subclasses__()


def test_a_freed_class_is_not_replaced_by_a_namesake() -> None:
    error = local_error()("x")
    pickling.dumps(type(error), Things())
    packed = exceptions.pack(error, Things())
    del error
    gc.collect()
    namesake = local_error()
    with pytest.raises(LookupError, match=f"this process has no exception .*{namesake.__name__}"):
        exceptions.unpack(packed, Things())


def test_a_module_has_the_class_of_a_name() -> None:
    """Another class with the same name, such as one before a reload, is not found by the name."""
    namesake: Any = type("KeywordError", (Exception,), {"__module__": __name__})
    assert KeywordError is type(arrived(KeywordError(row=3)))
    with pytest.raises(LookupError, match="this process has 2 exceptions"):
        arrived(namesake("x"))


class Colour(Enum):
    RED = 1


class WithoutRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "key",
    [
        Colour.RED,
        date(2020, 1, 2),
        Decimal("1.5"),
        frozenset({1}),
        np.str_("a"),
        ShownValue("a", "b"),
        IntEnum("Number", "ONE")(1),
        Path,
        (1, [date(2020, 1, 2)]),
    ],
    ids=repr,
)
@pytest.mark.parametrize("cls", [KeyError, ValueError, Outer.InnerError])
def test_any_argument_keeps_the_class_and_the_text(cls: Any, key: Any) -> None:
    for error in (cls(key), cls("no such row", key)):
        got = arrived(error)
        assert (cls, str(error), repr(error)) == (type(got), str(got), repr(got))
        again = pickle.loads(pickle.dumps(got))
        assert (str(error), repr(error)) == (str(again), repr(again))


def test_only_an_argument_without_a_plain_form_is_replaced() -> None:
    assert ("broken", 3, "{1, 2}") == arrived(RuntimeError("broken", 3, {1, 2})).args
    file = PurePosixPath("a.csv")
    error: Any = arrived(FileNotFoundError(errno.ENOENT, "No such file", file))
    assert (errno.ENOENT, "a.csv", f"[Errno 2] No such file: {file!r}") == (
        error.errno,
        error.filename,
        str(error),
    )


def test_the_text_replaces_arguments_that_are_too_large() -> None:
    """Only if one of them has no plain form."""
    error = RuntimeError(*range(100_000))
    assert error.args == arrived(error).args
    error = RuntimeError(*range(100_000), {1})
    assert (str(error),) == arrived(error).args


LARGE: list[Any] = [
    pytest.param(list(map(str, range(20_000))), id="texts"),
    pytest.param(tuple([None, 1.5] * 10_000), id="numbers and None"),
    pytest.param({f"key {i}": (i, [str(i)]) for i in range(5_000)}, id="rows"),
    pytest.param([np.full(3, i) for i in range(900)] + ["x"] * 10_000, id="arrays"),
]


@pytest.mark.thorough
@pytest.mark.parametrize("value", LARGE)
def test_large_values_with_a_plain_form_arrive(value: Any) -> None:
    """Also if several attributes and arguments are the same object."""
    error: Any = RuntimeError("broken", value, [value[:2] if type(value) is list else 1])
    error.rows, error.again, error.row = value, value, 3
    got: Any = arrived(error)
    for one in (got.args[1], got.rows, got.again):
        assert type(value) is type(one)
        np.testing.assert_equal(one, value)
    assert ("broken", 3, str(error)) == (got.args[0], got.row, str(got))


def test_the_large_values_of_an_exception_share_one_limit_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packer, "MAX_LARGE_TREE_BYTES", 3_000_000)
    error: Any = RuntimeError("broken")
    error.first, error.second = (list(map(str, range(20_000))) for _ in range(2))
    assert ["first", "__notes__"] == list(vars(arrived(error)))

    monkeypatch.undo()
    payload = exceptions.pack(error, Things())
    monkeypatch.setattr(structure, "MAX_LARGE_TREE_BYTES", 3_000_000)
    with pytest.raises(ProtocolError, match="more memory than any structure"):
        exceptions.unpack(payload, Things())


def test_the_class_and_address_replace_an_argument_without_text() -> None:
    (text,) = arrived(RuntimeError(WithoutRepr())).args
    assert "WithoutRepr object at 0x" in text


def test_attributes_without_a_plain_form_are_left_out() -> None:
    error: Any = RuntimeError("broken")
    error.stream, error.rows, error.row = sys.stdout, [*map(str, range(100_000)), {1}], 3
    note = (
        "the attribute 'rows' of type list is missing here, because it is too large or contains an "
        "object that cannot be sent"
    )
    assert {"row": 3, "__notes__": [note]} == vars(arrived(error))
    error.add_note("by the user")
    assert {"row": 3, "__notes__": ["by the user", note]} == vars(arrived(error))


@pytest.mark.parametrize(
    "error",
    [FormattedError(date(2020, 1, 2)), SlottedError(PurePosixPath("a/b"))],
    ids=["arguments", "attributes"],
)
def test_an_exception_with_another_text_is_refused(error: Exception) -> None:
    with pytest.raises(ValueError, match=f"{type(error).__name__} would have another text here"):
        arrived(error)


def test_an_exception_without_a_text_arrives() -> None:
    assert isinstance(arrived(OpaqueError("x")), OpaqueError)


def test_a_group_with_an_unsendable_exception_is_refused() -> None:
    with pytest.raises((TypeError, ValueError)):
        arrived(ExceptionGroup("several", [SlottedError(PurePosixPath("a/b"))]))


def test_a_long_text_arrives() -> None:
    assert 100_000 == len(str(arrived(ValueError("x" * 100_000))))


def test_a_list_that_contains_a_list_very_often_gets_a_short_text() -> None:
    value: Any = 1
    for _ in range(40):
        value = [value, value]
    got: Any = arrived(ValueError(value, 2))
    assert (2, True) == (got.args[1], got.args[0].startswith("<list object at "))


def test_exceptions_that_contain_each_other_take_bounded_time() -> None:
    error: Any = ValueError("last")
    for _ in range(100):
        outer: Any = ValueError("one")
        outer.first = outer.second = error
        error = outer
    error.itself = error
    assert ("one",) == arrived(error).args


# ---------------------------------------------------------------- hostile payloads


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Provide the name of a module that is not imported yet."""
    name = "varsim_test_module_with_an_exception"
    (tmp_path / f"{name}.py").write_text("class FarError(LookupError): pass\nvalue = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def payload(module: str, name: str, *, args: Any = (), state: Any = None) -> Payload:
    """Return the payload of an exception that was written by hand."""
    packed = structure.pack((args, {} if state is None else state), Things())
    return Payload([Tag.EXCEPTION, module, name, True, None, *packed.tree[1:]], packed.arrays)


def test_the_module_of_a_class_is_imported(module: str) -> None:
    got = exceptions.unpack(payload(module, "FarError", args=("x",)), Things())
    assert isinstance(got, LookupError)
    assert ("FarError", ("x",)) == (type(got).__name__, got.args)


@pytest.mark.parametrize("name", ["value", "missing", "FarError.args", "LookupError"])
def test_only_exception_classes_are_made(module: str, name: str) -> None:
    with pytest.raises(LookupError, match=f"has no exception {module}"):
        exceptions.unpack(payload(module, name), Things())
    with pytest.raises(LookupError, match=re.escape("os.system")):
        exceptions.unpack(payload("os", "system", args=("true",)), Things())


@dataclass
class Trap:
    path: str

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


def test_a_pickle_in_a_raised_exception_is_refused(tmp_path: Path) -> None:
    trap = Trap(str(tmp_path / "made"))
    for made in (payload("builtins", "ValueError", args=(trap,)), structure.pack(trap, Things())):
        with pytest.raises(ProtocolError):
            exceptions.unpack(made, Things())
    assert not (tmp_path / "made").exists()
    pickle.loads(pickle.dumps(trap))
    assert (tmp_path / "made").exists()  # the trap works


@pytest.mark.parametrize(
    "tree",
    [
        [],
        [Tag.EXCEPTION],
        [Tag.EXCEPTION, "builtins", "ValueError", True, None, 3, [Tag.DICT]],
        [Tag.EXCEPTION, "builtins", "ValueError", True, None, [Tag.TUPLE], 3],
        [Tag.EXCEPTION, "builtins", "ValueError", True, None, [Tag.TUPLE]],
        [Tag.EXCEPTION, "builtins", "ValueError", 1, None, [Tag.TUPLE], [Tag.DICT]],
        [Tag.EXCEPTION, "builtins", 3, True, None, [Tag.TUPLE], [Tag.DICT]],
        *(
            [Tag.EXCEPTION, "builtins", "ValueError", True, None, [Tag.TUPLE, part], [Tag.DICT]]
            for part in (
                [Tag.RECORD, "subprocess", "Popen", "true"],
                [Tag.RECORD, "varsim.errors", "Fix"],
                [Tag.RECORD, "varsim.errors", "MAX_FIXES"],
                [Tag.MEMBER, "varsim.spec", "Operation", "BURN"],
                [Tag.MEMBER, "varsim.errors", "Fix", "what"],
                [Tag.DTYPE, 3],
                [Tag.SHOWN, "x"],
                [Tag.SHOWN, [99], "x"],
            )
        ),
    ],
    ids=str,
)
def test_a_malformed_exception_is_refused(tree: Any) -> None:
    with pytest.raises(ProtocolError):
        exceptions.unpack(Payload(tree), Things())


@pytest.mark.parametrize("tag", [Tag.DTYPE, Tag.MEMBER, Tag.RECORD, Tag.EXCEPTION, Tag.SHOWN])
def test_parts_of_exceptions_are_refused_in_other_payloads(tag: Tag) -> None:
    with pytest.raises(ProtocolError):
        structure.unpack(Payload([tag, "builtins", "ValueError"]), Things())
