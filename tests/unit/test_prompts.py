"""Prompts load strictly and render as data."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import pytest

from sluicegate.errors import ConfigError, PromptError
from sluicegate.hashing import canonical_json
from sluicegate.prompts import (
    Prompt,
    diff,
    load_prompt,
    prompt_from_content,
    read_prompts,
    render,
)


def write(
    folder: Path, template: str, variables: str = "[text]", extra: str = "", style: str = "|-"
) -> Path:
    path = folder / "p.yaml"
    path.write_text(
        f"name: p\nvariables: {variables}\ntemplate: {style}\n  {template}\n{extra}", "utf-8"
    )
    return path


def test_data_is_not_evaluated(tmp_path: Path) -> None:
    """Template syntax inside an input stays text."""
    prompt = load_prompt(write(tmp_path, "Say {{ text }}"))
    assert (
        render(prompt, {"text": "{{ 7*7 }} {% raw %}"})[-1]["content"] == "Say {{ 7*7 }} {% raw %}"
    )


@pytest.mark.parametrize(
    ("template", "variables", "message"),
    [
        ("Say {{ other }}", "[text]", "does not declare"),
        ("Say nothing", "[text]", "never uses"),
        ("Say {{ text", "[text]", "line 1"),
        ("{{ text * 900000000 }}", "[text]", "makes more"),
        ("{% for x in range(10**9) %}{{ text }}{% endfor %}", "[text]", "not allowed"),
        ("{% macro m() %}{{ text }}{{ m() }}{% endmacro %}{{ m() }}", "[text]", "not allowed"),
        ("{% for x in text recursive %}{{ loop(x) }}{% endfor %}", "[text]", "not allowed"),
        ("{{ text | pprint }}", "[text]", "filter pprint"),
        ("{% include 'other.yaml' %}{{ text }}", "[text]", "not allowed"),
    ],
)
def test_bad_templates_are_refused(
    tmp_path: Path, template: str, variables: str, message: str
) -> None:
    """A template that disagrees with its variables, or could explode, never loads."""
    with pytest.raises(PromptError, match=message):
        load_prompt(write(tmp_path, f'"{template}"', variables, style=""))


EXPLOSIONS = [
    "{{ text | center(900000000) }}",
    "{{ 'a' | center(width=900000000) }}",
    "{{ '%999999999d' | format(1) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%*d' % (999999999, 1) }}",
    "{{ text * 900000000 }}",
    "{{ 900000000 * [text] }}",
    "{{ 9 ** 99999999 > 1 }}",
    "{{ text | indent(900000000) }}",
    "{{ [1, 2] | tojson(indent=900000000) }}",
    "{{ 1.5 | round(900000000) }}",
    "{{ text | map('center', 900000000) | list }}",
    "{{ text | wordwrap(1, wrapstring=text * 100000) }}",
    "{{ text.ljust(900000000) }}",
    "{{ text.join([text] * 100000) }}",
    "{{ text | replace('', text * 1000) | replace('', text * 1000) | length }}",
    "{% set a = text * 90000 %}" + "{% set a = a ~ a ~ a ~ a %}" * 20 + "{{ a | length }}",
    "{{ [" + "text[:] * 200000, " * 200 + "] | length }}",
    "{% for a in text * 60 %}{% for b in text * 60 %}x{% endfor %}{% endfor %}",
    "{{ " + "(" * 5000 + "text" + ")" * 5000 + " }}",
    "{{ text" + " | upper" * 4000 + " }}",
    "{{ " + "-" * 30000 + "1 }}",
]


@pytest.mark.parametrize("template", EXPLOSIONS)
def test_what_could_explode_is_priced_before_it_is_made(template: str) -> None:
    """Little text that would make much is a PromptError, at once and in little memory."""
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(PromptError):
            render(Prompt("p", "", template, ("text",), "", ""), {"text": "text"})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60e6
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Use **bold**, *.py, range(3) and ', '.join(x) on {{ text }}", "{} on a, b"),
        ("{% for part in text.split(', ') %}{{ loop.index }}={{ part }};{% endfor %}", "1=a;2=b;"),
        ("{{ text | upper | center(8) }}|", "  A, B  |"),
        ("{{ text[:1] ~ '!' }} {{ text * 2 }} {{ 3 * 4 }}", "a! a, ba, b 12"),
        ("{{ text.replace if false else text | replace(',', ';') }}", "a; b"),
        ("{% if 'b' in text %}{{ text | length }}{% else %}no{% endif %}", "4"),
    ],
)
def test_ordinary_templates_render(template: str, expected: str) -> None:
    """Markdown, globs and code around the braces are text; bounded loops, slices and filters work."""
    prompt = Prompt("p", "", template, ("text",), "", "")
    found = render(prompt, {"text": "a, b"})[-1]["content"]
    assert found == expected.format(template.partition(" on {{")[0])


def test_a_loop_goes_over_a_list(tmp_path: Path) -> None:
    """Inputs may be lists; a loop over more than 10,000 items in all is refused."""
    prompt = load_prompt(write(tmp_path, "{% for turn in text %}- {{ turn }} {% endfor %}"))
    assert render(prompt, {"text": ["hi", "bye"]})[-1]["content"] == "- hi - bye "
    with pytest.raises(PromptError, match="turns"):
        render(prompt, {"text": ["x"] * 10_001})


def test_the_system_text_is_a_template_too(tmp_path: Path) -> None:
    """Its variables are declared and rendered like the template's; one that is not declared is
    named.
    """
    extra = "system: You help customers of {{ shop }}.\n"
    prompt = load_prompt(write(tmp_path, "Say {{ text }}", "[text, shop]", extra))
    assert render(prompt, {"text": "x", "shop": "{{ A }}"})[0]["content"] == (
        "You help customers of {{ A }}."
    )
    with pytest.raises(PromptError, match="system uses shop"):
        load_prompt(write(tmp_path, "Say {{ text }}", "[text]", extra))
    assert prompt_from_content(json.loads(canonical_json(prompt.content))).digest == prompt.digest


def test_a_stored_system_text_of_version_0_1_0_stays_text() -> None:
    """What was released with braces in its system text is sent as it was judged, under the same
    digest.
    """
    content = {
        "name": "p", "system": "Write {{ x }}.", "template": "Say {{ text }}", "variables": ["text"]
    }  # fmt: skip
    prompt = prompt_from_content(content)
    assert prompt.content == content
    assert render(prompt, {"text": "x"})[0]["content"] == "Write {{ x }}."


def test_a_prompt_may_have_no_variables(tmp_path: Path) -> None:
    """It says the same to every row."""
    (tmp_path / "p.yaml").write_text("name: p\ntemplate: Tell a joke.\n")
    assert render(load_prompt(tmp_path / "p.yaml"), {"text": "x"})[0]["content"] == "Tell a joke."


def test_one_bad_file_does_not_hide_the_others(tmp_path: Path) -> None:
    """All that load are there, and each that does not is named with its reason."""
    write(tmp_path, "Say {{ text }}")
    (tmp_path / "bad.yaml").write_text("name: bad\ntemplate: '{{ x'\n")
    (tmp_path / "worse.yaml").write_text("name: [\n")
    (tmp_path / "bold.yaml").write_text(
        "name: bold\nvariables: [conversation]\ntemplate: |-\n"
        "  Answer in **one sentence** only.\n\n  {{ conversation }}\n"
    )
    found = read_prompts(tmp_path)
    assert [prompt.name for prompt in found.good] == ["bold", "p"]
    assert ["bad.yaml" in str(found.wrong[0]), "worse.yaml" in str(found.wrong[1])] == [True, True]


def test_unknown_field_is_named(tmp_path: Path) -> None:
    """A misspelt field is an error that names it."""
    with pytest.raises(ConfigError, match="sytem"):
        load_prompt(write(tmp_path, "Say {{ text }}", extra="sytem: x\n"))


def test_missing_input(tmp_path: Path) -> None:
    """A row without the prompt's variable is refused with the place to mend."""
    with pytest.raises(PromptError, match="text") as caught:
        render(load_prompt(write(tmp_path, "Say {{ text }}")), {"other": "x"})
    assert "sources.yaml" in caught.value.hint


def test_huge_input_is_bounded(tmp_path: Path) -> None:
    """Rendering stops at a million characters."""
    with pytest.raises(PromptError, match="exceeds"):
        render(load_prompt(write(tmp_path, "Say {{ text }}")), {"text": "x" * 1_000_001})


def test_digest_is_what_the_model_sees(tmp_path: Path) -> None:
    """Owner and notes do not change a prompt's identity; its text does."""
    first = load_prompt(write(tmp_path, "Say {{ text }}"))
    same = load_prompt(write(tmp_path, "Say {{ text }}", extra="owner: someone\n"))
    other = load_prompt(write(tmp_path, "Tell {{ text }}"))
    assert first.digest == same.digest != other.digest
    assert diff(first, same) == ""
    assert "+Tell" in diff(first, other)


def test_examples_and_the_answers_format_are_part_of_a_prompt(tmp_path: Path) -> None:
    """Few-shot examples are turns before the question, sent as they are; they and the format of the
    answer count in the digest, survive the store, and a prompt without them hashes as before.
    """
    path = tmp_path / "triage.yaml"
    plain = "name: triage\nsystem: Sort.\nvariables: [text]\ntemplate: '{{ text }}'\n"
    path.write_text(plain, "utf-8")
    before = load_prompt(path)
    assert set(before.content) == {"name", "system", "template", "variables"}
    shots = "examples:\n  - {user: 'a {{ brace }}', assistant: '{\"label\": 1}'}\n"
    path.write_text(plain + shots + "response_format: {type: json_object}\n", "utf-8")
    prompt = load_prompt(path)
    assert render(prompt, {"text": "new"}) == [
        {"role": "system", "content": "Sort."},
        {"role": "user", "content": "a {{ brace }}"},
        {"role": "assistant", "content": '{"label": 1}'},
        {"role": "user", "content": "new"},
    ]
    assert prompt.digest != before.digest
    again = prompt_from_content(json.loads(json.dumps(prompt.content)))
    assert again.digest == prompt.digest
    assert "json_object" in diff(before, prompt)
