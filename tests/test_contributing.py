"""The examples of CONTRIBUTING.md work: put into their tables, they keep the contracts."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "contracts"))
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
EXAMPLE = re.compile(
    r"```python\n# (src/\S+\.py)\n(.*?)```\n\n(?:[^\n]+\n)*?Row of "
    r"`(\w+)`[^\n]*:\n\n```python\n(.*?)```",
    re.S,
)
FOUND = {match[3]: match for match in EXAMPLE.finditer(PAGE)}


def example(table: str, monkeypatch: pytest.MonkeyPatch, rows: dict[str, Any]) -> str:
    """Run the example for `table`, put its row in, and return the row's name."""
    path, code, _, row = FOUND[table].groups()
    module = ModuleType(path.removeprefix("src/").removesuffix(".py").replace("/", "."))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    module.__spec__ = ModuleSpec(module.__name__, None, origin=str(ROOT / "CONTRIBUTING.md"))
    exec(compile(code, path, "exec"), module.__dict__)
    home = sys.modules[_home(rows)]
    made = eval(f"{{{row}}}", {**vars(home), **vars(module)})
    ((name, value),) = made.items()
    monkeypatch.setitem(rows, name, value)
    return str(name)


def _home(rows: dict[str, Any]) -> str:
    """The module in which a table's rows are made."""
    value = next(iter(rows.values()))
    if isinstance(value, str):
        return "builtins"
    return next(
        name
        for name, module in sys.modules.items()
        if name.startswith("sluicegate")
        and any(one is rows for one in vars(module).values())
        and type(value).__name__ in vars(module)
    )


def keeps(contract: ModuleType, table: dict[str, Any], row: str) -> int:
    """Run every test of `contract` that runs over `table` and nothing else; how many there were."""
    count = 0
    for name, test in vars(contract).items():
        if not name.startswith("test_"):
            continue
        marks = [mark.args[1] for mark in getattr(test, "pytestmark", ())]
        if marks == [table] and len(inspect.signature(test).parameters) == 1:
            test(row)
            count += 1
    return count


def test_a_rule_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind of rule in CONTRIBUTING keeps the contract of all kinds."""
    import test_rule_contract as contract

    kind = example("RULES", monkeypatch, contract.RULES)
    assert keeps(contract, contract.RULES, kind) >= 6
    contract.test_what_was_not_measured_holds(kind, "both")
    for level in (0.95, 0.05):
        contract.test_every_rendering_says_what_was_asked(kind, level)


def test_a_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector in CONTRIBUTING keeps the contract of all detectors."""
    import test_detector_contract as contract

    name = example("DETECTORS", monkeypatch, contract.DETECTORS)
    tests: list[Callable[[str], None]] = [
        contract.test_equal_shares_are_no_distance,
        contract.test_a_shift_is_found_and_grows,
        contract.test_sides_are_exchangeable,
        contract.test_no_bins,
        contract.test_each_says_what_it_compares,
        contract.test_constant_columns_are_finite,
        contract.test_the_same_traffic_does_not_alarm,
        contract.test_it_finds_what_it_is_for,
    ]
    for test in tests:
        test(name)


def test_a_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    """The metric in CONTRIBUTING keeps the contract of all metrics."""
    import test_metric_contract as contract

    name = example("METRICS", monkeypatch, contract.METRICS)
    metric = contract.METRICS[name]
    contract.test_row_name(metric)
    contract.test_finite_and_in_range(metric=metric)
    contract.test_blank_output_is_worst(metric, " \n")
    contract.test_perfect_output_is_best(metric)
    contract.test_many_equals_one_by_one(metric)


def test_a_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command in CONTRIBUTING keeps the contract of all commands."""
    import test_command_contract as contract

    name = example("COMMANDS", monkeypatch, contract.COMMANDS)
    assert keeps(contract, contract.COMMANDS, name) >= 5
    contract.test_outside_a_project_it_says_so(name, tmp_path, monkeypatch)


def test_a_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The source without a file in CONTRIBUTING keeps the contract of all sources."""
    import sqlalchemy as sa
    import test_source_contract as contract

    def make(path: Path, table: list[dict[str, str]]) -> str:
        engine = sa.create_engine(f"sqlite:///{path}")
        columns = [sa.Column(name, sa.Text) for name in contract.TABLE[0]]
        rows = sa.Table("rows", sa.MetaData(), *columns)
        rows.metadata.create_all(engine)
        with engine.begin() as database:
            for row in table:
                database.execute(rows.insert().values(**row))
        return f"sqlite:///{path}"

    kind = example("SOURCES", monkeypatch, contract.SOURCES)
    monkeypatch.setitem(contract.MADE, kind, make)
    tests = [
        contract.test_rows_come_in_whole,
        contract.test_the_digest_is_of_the_content,
        contract.test_a_source_of_no_rows_is_refused,
        contract.test_an_id_used_twice_and_a_blank_text_are_told_together,
        contract.test_a_column_that_is_not_there_is_named,
        contract.test_an_option_that_it_does_not_know_is_refused,
        contract.test_only_a_source_that_needs_a_file_may_be_absent,
    ]
    for number, test in enumerate(tests):
        (tmp_path / str(number)).mkdir()
        test(kind, tmp_path / str(number))


def test_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind of model in CONTRIBUTING keeps the contract of all models."""
    import test_model_contract as contract

    kind = example("MODELS", monkeypatch, contract.MODELS)
    spec = contract.ModelSpec.model_validate({kind: "Yes.", "context": contract.CONTEXT})
    tests: list[Callable[..., None]] = [
        contract.test_order_is_kept,
        contract.test_failures_are_values,
        contract.test_nothing_gives_nothing,
        contract.test_the_budget_holds,
        contract.test_identity,
        contract.test_tokens_are_counted,
    ]
    for test in tests:
        test(lambda: contract.open_model(spec, kind, root=Path()))


def test_every_example_is_tested() -> None:
    """Each example with a row has a test here."""
    here = Path(__file__).read_text("utf-8")
    assert FOUND
    assert all(f'example("{table}"' in here for table in FOUND)


def test_every_table_is_in_the_page() -> None:
    """Whoever adds a row finds the table in CONTRIBUTING."""
    from test_tables import TABLES

    assert not [name for name in TABLES if f"`{name}`" not in PAGE]


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:src|tests|docs|flows|registry)/[\w./]+)`", PAGE)))
)
def test_every_path_exists(path: str) -> None:
    """Files and folders that the page names are there; `x` stands for the new one."""
    if re.search(r"(^|[/_])x\.", path):
        path = path.rsplit("/", 1)[0]
    assert (ROOT / path).exists()
