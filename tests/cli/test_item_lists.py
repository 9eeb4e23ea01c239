"""Lists of Items: every wrong line is told at once, nothing is begun that ends halfway, and each may be given again."""

import json

import pytest

from tests.cli.conftest import LINE, TOKEN

NOBODY = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "items.ndjson"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "holds no Item"),
        (b"\n \r\n", "holds no Item"),
        (b"\xff\xfe{\x00}\x00", "is not UTF-8"),
        (None, "No such file"),
    ],
    ids=["empty", "blank lines", "UTF-16", "missing"],
)
@pytest.mark.parametrize("command", ["items import", "keys import-tokens --format plain"])
def test_a_file_that_is_no_list_is_one_line(refused, file, command, content, told):
    name = "/nonexistent/items.ndjson" if content is None else file(content)
    assert told in refused(*command.split(), name, code=1)


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        '{"user_id": "u"}',
        '{"user_id": "", "plaid_item_id": "p", "access_token": "t"}',
        '{"user_id": "u\\u0000", "plaid_item_id": "p", "access_token": "t"}',
        '{"user_id": "u\\n", "plaid_item_id": "p", "access_token": "t"}',
        '{"user_id": "u", "plaid_item_id": "p", "access_token": "\\ud800 t"}',
        '{"user_id": "u", "plaid_item_id": "p", "access_token": ""}',
        '{"user_id": "u", "plaid_item_id": "p", "access_token": "t", "acces_token": "t"}',
        '{"user_id": 7, "plaid_item_id": "p", "access_token": "t"}',
    ],
)
def test_each_wrong_line_is_told_and_no_line_is_used(manna, file, line):
    good = LINE % (1, TOKEN, 1)
    said = manna("items", "import", file(f"{good}\n{line}\n\n{line}\n{good}"))
    told = said.err.splitlines()
    assert (said.code, said.out, len(told)) == (1, "", 3)
    assert [one.split(":")[0] for one in told] == ["line 2", "line 4", "manna"]
    assert "2 of 4 lines are wrong" in told[-1]
    assert json.loads(manna("items", "list", "--json").out) == []


def test_a_file_of_another_kind_is_told_in_few_lines(manna, file):
    said = manna("items", "import", file("nonsense\n" * 1000))
    assert "1000 of 1000" in said.err
    assert said.err.count("\n") == 21


def test_a_byte_order_mark_and_the_line_ends_of_windows_are_read(manna, file):
    said = manna("items", "import", file(b"\xef\xbb\xbf" + (LINE % (1, TOKEN, 1)).encode() + b"\r\n"), "--json")
    assert json.loads(said.out) == {"registered": 1, "known": 0}


def test_a_list_is_tried_first_shows_progress_and_may_be_given_again(manna, file):
    name = file("\n".join(LINE % (n, TOKEN, n) for n in range(1200)))
    assert json.loads(manna("items", "import", name, "--dry-run", "--json").out) == {"new": 1200, "known": 0}
    said = manna("items", "import", name, "--json")
    assert json.loads(said.out) == {"registered": 1200, "known": 0}
    assert said.err.splitlines() == ["registering 500 of 1200", "registering 1000 of 1200", "registering 1200 of 1200"]
    assert json.loads(manna("items", "import", name, "--dry-run", "--json").out) == {"new": 0, "known": 1200}
    assert json.loads(manna("items", "import", name, "--json").out) == {"registered": 0, "known": 1200}


@pytest.mark.parametrize("name", ["--user", "--item-id"])
def test_an_item_without_a_name_is_not_registered(refused, file, name):
    given = {"--user": "u", "--item-id": "i"} | {name: ""}
    words = [word for pair in given.items() for word in pair]
    assert "not empty" in refused("items", "add", *words, "--access-token-file", file(TOKEN), code=1)


@pytest.mark.parametrize(
    "command", ["items sync", "items remove --yes", "keys rotate-token", "keys rotate-token --dry-run"]
)
def test_one_wrong_id_in_a_list_stops_it_before_the_first(manna, registered, redis_url, command):
    (known,) = registered(1)
    said = manna(*command.split(), known, NOBODY)
    assert (said.code, said.out) == (1, "")
    assert NOBODY in said.err
    (item,) = json.loads(manna("items", "list", "--json").out)
    assert (item["status"], item["version"]) == ("active", 0)


def test_many_are_sent_for_with_progress_and_without_the_removed(manna, registered):
    first, *_ = registered(30)
    assert json.loads(manna("items", "remove", first, "--dry-run", "--json").out) == {"items": 1}
    assert json.loads(manna("items", "remove", first, "--yes", "--json").out)["removed"] == 1
    assert json.loads(manna("items", "sync", "--all", "--dry-run", "--json").out) == {"items": 29}
    said = manna("items", "sync", "--all", "--json")
    assert (said.code, json.loads(said.out), said.err) == (0, {"sent": 29}, "sending 29 of 29\n")


def test_an_item_that_was_removed_does_not_keep_the_others_from_being_synced(manna, registered):
    first, second = registered(2)
    manna("items", "remove", first, "--yes")
    said = manna("items", "sync", first, second, "--wait", "--json")
    assert (said.code, json.loads(said.out)) == (1, {"done": 2, "failed": 2})


@pytest.mark.parametrize("words", ["", "--all --status active", f"{NOBODY} --all", "--status removed"])
def test_what_is_synced_is_said_in_one_way(refused, words):
    refused("items", "sync", *words.split(), code=2)


def test_a_table_keeps_its_ids_whole_for_a_pipe_and_on_a_narrow_terminal(manna, registered, monkeypatch):
    (known,) = registered(1)
    assert known in manna("items", "list").out
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert known in manna("items", "list").out
