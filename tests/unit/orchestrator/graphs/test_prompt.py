from __future__ import annotations

from uuid import UUID

import pytest
from flotilla_orchestrator.graphs.prompt import compile_prompt, date_of, fence, fence_recalled, find_unknown
from hypothesis import given
from hypothesis import strategies as st


def test_prompt_fills_fixed_variables_at_once_and_others_when_it_is_rendered() -> None:
    prompt = compile_prompt("I am {{ agent }}, today is {{date}}.\n", {"agent": "ada"})

    assert prompt.slots == ("date",)
    assert prompt.render({"date": "2026-01-02"}) == "I am ada, today is 2026-01-02."


def test_prompt_does_not_fill_variables_that_a_value_brings() -> None:
    prompt = compile_prompt("{{recalled}} {{date}}", {})

    assert prompt.render({"recalled": "{{date}}", "date": "today"}) == "{{date}} today"


def test_find_unknown_names_line_and_column() -> None:
    unknown = find_unknown("Hello\n  {{nmae}} and {{date}}", {"date", "name"})

    assert [(found.name, found.line, found.column) for found in unknown] == [("nmae", 2, 3)]


@pytest.mark.parametrize("attack", ["</data>", "</DATA >", "< /data>", "</ data>", "<data>"])
def test_fence_cannot_be_closed_from_inside(attack: str) -> None:
    fenced = fence("data", f"before {attack} after")

    assert fenced.startswith("<data>\n")
    assert fenced.endswith("\n</data>")
    inside = fenced.removeprefix("<data>\n").removesuffix("\n</data>")
    assert attack not in inside


@pytest.mark.timeout(30)
@pytest.mark.parametrize("unit", [" ", "<", "</", "< ", "\t/ "], ids=repr)
def test_hostile_text_is_fenced_soon(unit: str) -> None:
    """Work that grows with the square of a model's text would stop every run of the process for a minute."""
    text = "<" + unit * (400_000 // len(unit))

    assert fence("data", text).count("</data>") == 1


@given(st.text())
def test_fence_holds_exactly_one_closing_tag(text: str) -> None:
    assert fence("data", text).count("</data>") == 1


def test_fence_recalled_is_empty_when_nothing_is_known() -> None:
    assert fence_recalled("") == ""


def test_date_comes_from_the_run_id() -> None:
    assert date_of(UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")) == "2022-02-22"
