"""What the documents say exists, exists: commands, options, targets, files, links, anchors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest

import sluicegate
from sluicegate.cli import sluice

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(DOCS.rglob("*.md")),
]
TUTORIAL = DOCS / "tutorial" / "your-own-data.md"
CODE = re.compile(r"`([^`\n]+)`|^    (.+)$|^(sluice .+)$", re.M)
COMMAND = re.compile(r"\bsluice ([a-z]+(?:-[a-z]+)*)((?: +[^`;|&()\[\],\s]+)*)")
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```", re.M | re.S)
OLD = ["asker", "purse", "opponent", "--plain"]


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


def code(page: Path) -> list[str]:
    """Everything that a page sets in code type."""
    return ["".join(found) for found in CODE.findall(page.read_text("utf-8"))]


@every_page
def test_commands_exist(page: Path) -> None:
    """Every `sluice` command and option that a page names is one that the command has."""
    context = click.Context(sluice)
    for text in code(page):
        for name, rest in COMMAND.findall(text):
            command = sluice.get_command(context, name)
            assert command is not None, f"sluice {name}"
            check_words(command, context, f"sluice {name}", rest.split())


def check_words(
    command: click.Command, context: click.Context, path: str, words: list[str]
) -> None:
    """The words after a command are its own commands (`a|b` is two of them) or options it has."""
    if isinstance(command, click.Group) and words and not words[0].startswith("-"):
        for name in words[0].split("|"):
            found = command.get_command(context, name)
            assert found is not None, f"{path} {name}"
            check_words(found, context, f"{path} {name}", words[1:])
        return
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    for word in words:
        option = word.split("=")[0]
        assert not option.startswith("--") or option in known, f"{path} {option}"


@every_page
def test_make_targets_exist(page: Path) -> None:
    """Every `make` target that a page names is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    assert "docs" in targets
    for text in code(page):
        for target in re.findall(r"(?:^|&& )make ([a-z-]+)", text):
            assert target in targets, f"make {target}"


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link points to a file or a generated page, and every anchor to a heading."""
    made = generated() if page.is_relative_to(DOCS) else {}
    for target in re.findall(r"\]\(([^)\s:]+)\)", page.read_text("utf-8")):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        name = str(file.relative_to(DOCS)) if file.is_relative_to(DOCS) else ""
        assert file.exists() or name in made, target
        if anchor:
            text = made.get(name) or file.read_text("utf-8")
            assert anchor in anchors(text), target


def generated() -> dict[str, str]:
    """The pages that docs/generate.py makes; none where the group `docs` is not installed."""
    pytest.importorskip("mkdocs", reason="the group `docs` is not installed")
    sys.path.insert(0, str(DOCS))
    try:
        import generate

        return generate.pages()
    finally:
        sys.path.remove(str(DOCS))


def anchors(text: str) -> set[str]:
    """What GitHub and MkDocs make of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def test_benchmarks_named_exist() -> None:
    """A number in the documents names the command that made it, and that file is there."""
    for page in PAGES:
        for script in re.findall(r"benchmarks/\w+\.py", page.read_text("utf-8")):
            assert (ROOT / script).is_file(), f"{page.name}: {script}"


def test_tests_named_exist() -> None:
    """Every fault of the table names a test that is there, or the page that stands for it."""
    page = DOCS / "explanation" / "faults.md"
    rows = re.findall(r"^\| (\d+) \|.*\| (.+) \|$", page.read_text("utf-8"), re.M)
    assert [int(number) for number, _ in rows] == list(range(1, 26))
    for number, shown in rows:
        named = re.findall(r"`([\w/]+\.py): (test_\w+)`", shown)
        assert named or re.search(r"\]\(\w+\.md\)", shown), number
        for file, test in named:
            text = (ROOT / "tests" / file).read_text("utf-8")
            assert re.search(rf"^def {test}\(", text, re.M), f"{file}: {test}"


@every_page
def test_lines_are_at_most_100_wide(page: Path) -> None:
    """Prose breaks at sentences and at 100 columns; rows of a table and long commands cannot."""
    if page.name == "CHANGELOG.md":
        pytest.skip("entries of versions that are out stay as they are")
    for line in page.read_text("utf-8").splitlines():
        free = line.startswith(("|", ">", "    ", "# ")) or len(line.split()) < 3
        assert len(line) <= 100 or free or line.startswith("`"), line


@every_page
def test_words_are_those_of_the_field(page: Path) -> None:
    """The words that this project once made up for itself are gone."""
    if page.name in ("CHANGELOG.md", "upgrade.md") or page.parent.name == "adr":
        pytest.skip("it says what was renamed")
    text = page.read_text("utf-8").lower()
    assert [word for word in OLD if re.search(rf"(?<!\w){word}s?\b", text)] == []


def test_every_variable_is_documented() -> None:
    """reference/environment.md names exactly the variables that code and templates read."""
    page = (DOCS / "reference" / "environment.md").read_text("utf-8")
    places = [
        *(ROOT / "src").rglob("*.py"),
        *(ROOT / "flows").glob("*.py"),
        ROOT / ".gitlab-ci.yml",
    ]
    places += [*(ROOT / ".github").rglob("*.yml"), ROOT / "prefect.yaml"]
    name = re.compile(r"\bSLUICE_[A-Z_]*[A-Z]\b")
    used = {found for place in places for found in name.findall(place.read_text("utf-8"))}
    assert used, "no variable was found"
    assert used <= set(name.findall(page))


class Assets(HTMLParser):
    """What a page loads: scripts, styles, images; and the ids that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        if tag in ("script", "img", "iframe"):
            self.loaded.append(found.get("src") or "")
        if tag == "link" and "canonical" not in (found.get("rel") or ""):
            self.loaded.append(found.get("href") or "")


def read_page(path: Path) -> Assets:
    found = Assets()
    found.feed(path.read_text("utf-8"))
    return found


def test_site_is_built_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    """`mkdocs build --strict` passes, the API page has every public name, no asset is remote."""
    pytest.importorskip("mkdocs", reason="the group `docs` is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [*command, "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > 25
    for page in pages:
        remote = [one for one in read_page(page).loaded if one.startswith(("http", "//"))]
        assert remote == [], page
    named = {f"sluicegate.{name}" for name in sluicegate.__all__}
    assert named - read_page(tmp_path / "reference" / "python.html").ids == set()


def tutorial_script() -> str:
    """The tutorial's blocks as one shell script: `sh` is run, a block with a title is a file."""
    lines = ["set -e"]
    for kind, title, text in BLOCK.findall(TUTORIAL.read_text("utf-8")):
        if title:
            lines.append(f"cat > {title} <<'END_OF_FILE'\n{text}END_OF_FILE")
        elif kind == "sh":
            lines += [line for line in text.splitlines() if not line.startswith("pip install")]
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_tutorial_ends_with_a_champion(tmp_path: Path) -> None:
    """Every command and file of the tutorial, in order, on the data that comes with it."""
    (tmp_path / "questions.csv").write_bytes((TUTORIAL.parent / "questions.csv").read_bytes())
    person = {
        f"GIT_{role}_{part}": "ana@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for part in ("NAME", "EMAIL")
    }
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", tutorial_script()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **person, "PATH": path},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "PROMOTE" in done.stdout
    assert "serves now" in done.stdout
