"""A release on a hosted model, stage by stage: what it is made of, who answered, what is missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from chat_server import ChatServer, completion, sends
from sluicegate.config import ModelSpec
from sluicegate.errors import (
    DataError,
    EnvironmentFailure,
    IncompleteError,
    IntegrityError,
    UsageError,
)
from sluicegate.evaluation.answers import Questions, answer_all
from sluicegate.generating import Failure, Messages, Reply, Request
from sluicegate.hashing import digest_value
from sluicegate.line.check import check_configuration
from sluicegate.line.check_notes import notes
from sluicegate.line.pipeline.base_model import ReleaseModel, release_model, stored_model
from sluicegate.line.run import open_run
from sluicegate.models import open_model
from sluicegate.models.scripted import ScriptedModel
from sluicegate.project import Project
from sluicegate.records import GenerationSettings, Lineage, Release
from sluicegate.releasing import StoredRelease, load_stored, store_release
from sluicegate.scaffold import CODE, HOSTED, Endpoint, init
from sluicegate.scaffold.template import files
from sluicegate.yaml_file import read_yaml

ROOT = Path(__file__).parents[2]
LINEAGE = Lineage("d", "g", {}, "c", "0" * 40, False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A hosted project whose server needs no key."""
    init(tmp_path / "p", HOSTED, Endpoint("http://127.0.0.1:9/v1", "fake"))
    return tmp_path / "p"


def was(stored: StoredRelease) -> tuple[str, str, Mapping[str, Any] | None]:
    """What is known of a stored release's model."""
    return stored.base_name, stored.release.base, stored.asked


def asked(count: int, key: str = "k") -> list[tuple[str, Messages]]:
    return [(f"{key}{n}", [{"role": "user", "content": f"say {n}"}]) for n in range(count)]


def server(by: str, *, fails: int = 0, also: str = "") -> ScriptedModel:
    """Answers as `by`, or as `also` every second time; the first `fails` requests fail."""
    names = [by, also or by]

    def said(request: Request) -> Reply | Failure:
        text = request.messages[-1]["content"]
        if int(text.split()[-1]) < fails:
            return Failure("the endpoint answered 503")
        return Reply(f"{by}: {text}", 1, 1, 0.1, answered_by=names[len(model.asked) % 2])

    model = ScriptedModel(said)
    return model


def questions(model: ScriptedModel, count: int, first: int = 0) -> Questions:
    return Questions(lambda: model, asked(count)[first:], GenerationSettings(), "k")


def test_equal_requests_of_two_releases_are_asked_once(tmp_path: Path) -> None:
    """Champion and candidate on one model share answers, and a second evaluation asks nothing."""
    model = server("fp1")
    sides = {"candidate": questions(model, 6), "champion": questions(model, 4)}
    found = answer_all(sides, tmp_path)
    assert len(model.asked) == 6
    assert found["champion"] == found["candidate"][:4]
    assert {one.answered_by for one in found["candidate"]} == {"fp1"}
    assert answer_all(sides, tmp_path) == found
    assert len(model.asked) == 6


def test_answers_of_another_model_behind_the_name_are_asked_again(tmp_path: Path) -> None:
    """Where somebody else answers now, the champion's cached answers are not compared with."""
    answer_all({"champion": questions(server("old"), 5)}, tmp_path)
    new = server("new")
    sides = {"candidate": questions(new, 9, 5), "champion": questions(new, 5)}
    found = answer_all(sides, tmp_path)
    assert len(new.asked) == 9
    assert [one.answered_by for one in found["champion"]] == ["new"] * 5
    answer_all(sides, tmp_path)
    assert len(new.asked) == 9


def test_cached_answers_that_do_not_fit_together_are_asked_again(tmp_path: Path) -> None:
    """Also where nothing new is asked: an earlier candidate was answered by one model, the champion
    since then by another.
    """
    answer_all({"candidate": questions(server("old"), 9, 5)}, tmp_path)
    answer_all({"champion": questions(server("new"), 5)}, tmp_path)
    now = server("new")
    sides = {"candidate": questions(now, 9, 5), "champion": questions(now, 5)}
    found = answer_all(sides, tmp_path)
    assert {one.answered_by for side in found.values() for one in side} == {"new"}


def test_a_server_of_several_voices_is_not_asked_for_ever(tmp_path: Path) -> None:
    """Two fingerprints that take turns are what answers now: nothing is asked a third time."""
    both = server("a", also="b")
    sides = {"candidate": questions(both, 8, 4), "champion": questions(both, 4)}
    answer_all(sides, tmp_path)
    answer_all(sides, tmp_path)
    assert len(both.asked) <= 16


def test_some_answers_missing_is_a_hold_that_keeps_the_others(tmp_path: Path) -> None:
    """Nothing is compared, the reason is told with exit code 4, and only the missing are asked
    again; without any answer it is the environment that failed.
    """
    with pytest.raises(IncompleteError, match=r"2 of 6 prompts got no answer.*503") as caught:
        answer_all({"candidate": questions(server("x", fails=2), 6)}, tmp_path)
    assert caught.value.exit_code == 4
    later = server("x")
    answer_all({"candidate": questions(later, 6)}, tmp_path)
    assert len(later.asked) == 2
    with pytest.raises(EnvironmentFailure, match="503"):
        answer_all({"candidate": questions(server("x", fails=9), 6)}, tmp_path / "other")


def test_the_identity_is_what_is_asked(root: Path) -> None:
    """Limits, keys and prices change nothing of the release; address and name do."""
    first = release_model(open_run(root))
    assert first.base is None
    assert first.asked == {"url": "http://127.0.0.1:9/v1", "model": "fake"}
    path = root / "registry" / "models.yaml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("# price:", "price:").replace("# concurrency", "timeout: 5 #"))
    assert release_model(open_run(root)).digest == first.digest
    path.write_text(text.replace("model: fake", "model: fake-2"))
    assert release_model(open_run(root)).digest != first.digest


def stored(root: Path) -> StoredRelease:
    run = open_run(root)
    model = release_model(run)
    return store_release(
        run.project,
        base_digest=model.digest,
        base_name=model.name,
        asked=model.asked,
        adapter=None,
        prompt=run.prompt,
        generation=run.params.release.generation.settings(),
        lineage=LINEAGE,
    )


def test_the_champion_is_asked_as_it_was(root: Path) -> None:
    """After its entry names another model at the same address the champion is still asked by its
    own name; a key goes to no other address.
    """
    champion = stored(root)
    path = root / "registry" / "models.yaml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("model: fake", "model: newer"))
    found: ReleaseModel = stored_model(open_run(root), *was(champion))
    assert found.digest == champion.release.base
    assert found.spec.endpoint is not None
    assert found.spec.endpoint.model == "fake"
    path.write_text(text.replace("127.0.0.1:9", "127.0.0.1:8"))
    with pytest.raises(IntegrityError, match="address"):
        stored_model(open_run(root), *was(champion))


def test_a_forged_model_in_the_store_is_found(root: Path) -> None:
    """What a release asks is checked against its digest whenever it is read."""
    release = stored(root)
    kept = Project(root).store / "models" / f"{release.release.base}.json"
    kept.write_text(json.dumps({"url": "http://127.0.0.1:9/v1", "model": "other"}))
    with pytest.raises(IntegrityError):
        load_stored(Project(root), release.digest)


def test_old_releases_keep_their_digest() -> None:
    """A release without application code is hashed as before there was any."""
    release = Release("b", None, "p", "g")
    former = {"base": "b", "adapter": None, "prompt": "p", "generation": "g"}
    assert release.digest == digest_value(former)
    assert replace(release, application="a").digest != release.digest


def test_the_former_name_of_the_model_is_read(root: Path) -> None:
    """params.yaml of an earlier version says base; both at once is an error."""
    path = root / "params.yaml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("  model: main", "  base: main "))
    assert open_run(root).params.release.model == "main"
    path.write_text(text.replace("  model: main", "  model: main\n  base: main "))
    assert any("base" in problem for problem in check_configuration(Project(root)))


def test_a_code_project_is_sound(tmp_path: Path) -> None:
    """What `sluice init --template code` writes passes `sluice check`, and has no summaries in it."""
    init(tmp_path / "p", CODE, Endpoint("http://127.0.0.1:9/v1", "fake-2026-01-01"))
    assert check_configuration(Project(tmp_path / "p")) == []
    assert (tmp_path / "p" / "app" / "triage.py").is_file()
    assert not (tmp_path / "p" / "prompts" / "summarize.yaml").exists()
    release = open_run(tmp_path / "p").params.release
    assert release.is_code
    assert release.roles == {"main": "main"}


def test_tuning_a_hosted_model_is_told_before_anything_runs(root: Path) -> None:
    """A section tune that trains is a problem; without one nothing is missing."""
    assert check_configuration(Project(root)) == []
    with (root / "params.yaml").open("a") as params:
        params.write("\ntune: {method: lora}\n")
    assert any("tune.method: main is hosted" in one for one in check_configuration(Project(root)))


def test_a_floating_name_is_told(tmp_path: Path) -> None:
    """A vendor's name without date or version is noted once, and is no problem."""
    init(tmp_path / "a", HOSTED, Endpoint("https://host.example/v1", "big-model", "KEY"))
    assert any("big-model" in note for note in notes(Project(tmp_path / "a")))
    init(tmp_path / "b", HOSTED, Endpoint("https://host.example/v1", "big-model-2026-01-02", "KEY"))
    assert notes(Project(tmp_path / "b")) == []


@pytest.mark.parametrize(
    "wrong",
    [
        Endpoint("ftp://host/v1", "m"),
        Endpoint("https://user:pass@host/v1", "m"),
        Endpoint("https://host/v1?key=1", "m"),
    ],
)
def test_what_is_no_endpoint_makes_no_project(wrong: Endpoint, tmp_path: Path) -> None:
    """A wrong address is refused before a file is written."""
    with pytest.raises(UsageError):
        init(tmp_path / "p", HOSTED, wrong)
    assert not (tmp_path / "p").exists()


def test_names_that_yaml_would_read_otherwise_are_quoted(tmp_path: Path) -> None:
    """Whatever the server calls its model reaches it letter by letter."""
    for number, name in enumerate(("70b: chat", '"', "1e3", "a\\1b")):
        init(tmp_path / str(number), HOSTED, Endpoint("https://host.example/v1", name))
        run = open_run(tmp_path / str(number))
        endpoint = run.models.models["main"].endpoint
        assert endpoint is not None
        assert endpoint.model == name


def test_the_templates_share_all_but_what_differs() -> None:
    """The hosted pipeline is the tuned one without tuning; every other difference is listed."""
    tuned, hosted = files(), files(HOSTED)
    different = {path for path in tuned if hosted.get(path) != tuned[path]} | (
        hosted.keys() - tuned.keys()
    )
    assert different == {
        "dvc.yaml",
        "params.yaml",
        "registry/models.yaml",
        "registry/sources.yaml",
        "requirements.txt",
    }
    wanted = read_yaml(ROOT / "dvc.yaml")["stages"]
    del wanted["tune"]
    wanted["evaluate"]["deps"].remove("build/adapter")
    wanted["evaluate"]["params"].remove("release.dtype")
    assert read_yaml(ROOT / "src/sluicegate/scaffold/hosted/dvc.yaml")["stages"] == wanted


def test_own_kinds_of_models_are_named_by_their_settings() -> None:
    """Also a model kind of the project's own can carry a release."""
    spec = ModelSpec.model_validate({"my_models:open_it": {"voice": "calm"}})
    other = ModelSpec.model_validate({"my_models:open_it": {"voice": "loud"}})
    from sluicegate.line.judge.clients import model_identity

    assert digest_value(model_identity(spec)) != digest_value(model_identity(other))


FAILURES: dict[str, tuple[bytes, int, str]] = {
    "refused key": (b'{"error": {"message": "bad key"}}', 401, "API key was refused"),
    "no such model": (b'{"error": {"message": "gone"}}', 404, "no such path or model"),
    "down": (b'{"error": {"message": "overloaded"}}', 503, "503"),
    "a web page": (b"<html>Welcome</html>", 200, "web page"),
    "no choices": (b'{"choices": []}', 200, "no choices"),
    "content filter": (completion("x", finish_reason="content_filter"), 200, "content filter"),
    "half a body": (b'{"choices": [{"mess', 200, "cannot be read"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failing_provider_is_told_in_a_line(name: str, tmp_path: Path) -> None:
    """Where nothing of a release is answered the environment failed (exit code 3), with the reason
    and what to do; nothing is recorded.
    """
    body, status, reason = FAILURES[name]
    with ChatServer(sends(body, status)) as server:
        entry = {"url": server.url, "model": "m", "allow_private": True, "tries": 1, "timeout": 5}
        spec = ModelSpec.model_validate({"endpoint": entry})
        one = Questions(
            lambda: open_model(spec, "main", root=tmp_path), asked(3), GenerationSettings(), "k"
        )
        with pytest.raises(EnvironmentFailure, match=reason) as caught:
            answer_all({"candidate": one}, tmp_path)
    assert (caught.value.exit_code, bool(caught.value.hint)) == (3, True)
    assert "\n" not in str(caught.value)


def test_a_prompt_longer_than_the_context_is_wrong_use(tmp_path: Path) -> None:
    """Trying again would not help: exit code 2, with the hint."""
    body = b'{"error": {"message": "maximum context length is 10", "code": "context_length"}}'
    with ChatServer(sends(body, 400)) as server:
        entry = {"url": server.url, "model": "m", "allow_private": True, "tries": 1}
        spec = ModelSpec.model_validate({"endpoint": entry})
        one = Questions(
            lambda: open_model(spec, "main", root=tmp_path), asked(2), GenerationSettings(), "k"
        )
        with pytest.raises(DataError, match="context"):
            answer_all({"candidate": one}, tmp_path)
