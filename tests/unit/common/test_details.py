import pytest
from flotilla_common.errors import InvalidArgumentError, ResourceExhaustedError, UnavailableError
from flotilla_common.rpc.details import UNSPECIFIED, Details, pack, unpack
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1)


reasons = words.filter(lambda reason: reason != UNSPECIFIED)


@given(reason=reasons, field=words, retry_after_s=st.floats(0, 1e6))
def test_details_survive_the_wire(reason: str, field: str, retry_after_s: float) -> None:
    error = ResourceExhaustedError("full", reason=reason, field=field, retry_after_s=retry_after_s)

    found = unpack(pack(error, StatusCode.RESOURCE_EXHAUSTED))

    assert found is not None
    assert (found.reason, found.field) == (reason, field)
    assert found.retry_after_s == pytest.approx(retry_after_s, abs=1e-8)


def test_absent_details_stay_absent() -> None:
    assert unpack(pack(InvalidArgumentError("wrong"), StatusCode.INVALID_ARGUMENT)) == Details()


def test_zero_seconds_are_not_none() -> None:
    found = unpack(pack(UnavailableError("away", retry_after_s=0), StatusCode.UNAVAILABLE))

    assert found == Details(retry_after_s=0.0)


@pytest.mark.parametrize("packed", [b"\xff\xff", b"", b"\x08\x05"])
def test_status_of_others_has_no_details(packed: bytes) -> None:
    assert unpack(packed) is None
