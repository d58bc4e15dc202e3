import pytest
from flotilla_common.rpc.channel import resolvable


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("dns:///memory:50051", "dns:///memory:50051"),
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("127.0.0.1:1,127.0.0.1:2", "ipv4:127.0.0.1:1,127.0.0.1:2"),
        ("127.0.0.1:1, 127.0.0.1:2", "ipv4:127.0.0.1:1,127.0.0.1:2"),
        ("ipv4:127.0.0.1:1,127.0.0.1:2", "ipv4:127.0.0.1:1,127.0.0.1:2"),
        ("[::1]:1,[::1]:2", "ipv6:[::1]:1,[::1]:2"),
    ],
)
def test_target_becomes_what_grpc_reads(target: str, expected: str) -> None:
    assert resolvable(target) == expected


@pytest.mark.parametrize("target", ["memory:1,memory:2", "127.0.0.1:1,[::1]:2", "127.0.0.1:1,"])
def test_several_targets_that_grpc_cannot_read_are_refused(target: str) -> None:
    with pytest.raises(ValueError, match="several targets"):
        resolvable(target)
