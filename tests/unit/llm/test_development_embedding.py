import math

import pytest
from flotilla_llm.development.embedding import embed
from hypothesis import given
from hypothesis import strategies as st


def likeness(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(embed(one), embed(other), strict=True))


@given(st.text(max_size=80), st.sampled_from([1, 8, 256, 300]))
def test_vector_has_length_one_and_is_always_the_same(text: str, dimensions: int) -> None:
    vector = embed(text, dimensions)

    assert len(vector) == dimensions
    assert math.isclose(sum(value * value for value in vector), 1.0, rel_tol=1e-9)
    assert vector == embed(text, dimensions)


@pytest.mark.parametrize(
    ("question", "near", "far"),
    [
        ("What is my favorite color?", "My favourite colour is teal.", "I like tea."),
        ("What do I like to drink?", "I like tea.", "My favourite colour is teal."),
        ("How do rollouts fail?", "A Kubernetes rollout failed.", "The cat sleeps."),
    ],
)
def test_similar_texts_are_nearer(question: str, near: str, far: str) -> None:
    assert likeness(question, near) > likeness(question, far) + 0.2
