"""Login tokens: made once, kept as hashes, withdrawn by removing a line."""

import hashlib
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalabel.errors import ConfigError, OutputError
from monailabel_app.safety.tokens import TokenFile, TokenOwner, add_token, load_tokens, parse_tokens

HASH = hashlib.sha256(b"secret").hexdigest()


def test_a_token_is_kept_as_its_hash_in_a_file_of_the_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    token = add_token(file, "Dr. Anna Berg")
    assert len(token) >= 43
    assert file.read_text() == f"Dr. Anna Berg {hashlib.sha256(token.encode()).hexdigest()}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert TokenFile(file).owner(token) == "Dr. Anna Berg"


def test_each_token_is_another_and_a_name_may_have_several(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    tokens = [add_token(file, name) for name in ("anna", "ben", "anna")]
    assert len(set(tokens)) == 3
    known = TokenFile(file)
    assert [known.owner(token) for token in tokens] == ["anna", "ben", "anna"]


def test_a_file_without_a_last_line_end_keeps_its_rights_and_its_last_token(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    file.write_text(f"# ours\n\nben {HASH.upper()}")
    file.chmod(0o640)
    token = add_token(file, "anna")
    assert file.stat().st_mode & 0o777 == 0o640
    known = TokenFile(file)
    assert (known.owner("secret"), known.owner(token)) == ("ben", "anna")


@pytest.mark.parametrize("token", ["", "secre", "secret ", "SECRET", HASH, "\udc80", "secr\u00e9t"])
def test_what_is_no_token_is_nobodys(tmp_path: Path, token: str) -> None:
    (tmp_path / "tokens.txt").write_text(f"ben {HASH}\n")
    assert TokenFile(tmp_path / "tokens.txt").owner(token) is None


@given(name=st.text(min_size=1, max_size=40).filter(lambda name: name == name.strip() and name.isprintable()))
def test_any_printable_name_comes_back(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    file = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    if name.startswith("#"):
        with pytest.raises(ConfigError):
            add_token(file, name)
        return
    token = add_token(file, name)
    assert TokenFile(file).owner(token) == name


@pytest.mark.parametrize("name", ["", " ", " anna", "anna\n", "an\nna", "#anna", "a" * 201])
def test_names_that_are_none_are_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name"):
        add_token(tmp_path / "tokens.txt", name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"tokens\.txt cannot be written: No such file"):
        add_token(tmp_path / "absent" / "tokens.txt", "anna")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "holds no token"),
        ("# nobody yet\n", "holds no token"),
        (f"ben {HASH}\nanna mysecret\n", "holds no NAME and hash in line 2"),
        (f"{HASH}\n", "line 1"),
        (f"ben {HASH}0\n", "line 1"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_at_start_without_telling_its_text(
    tmp_path: Path, text: str, named: str
) -> None:
    (tmp_path / "tokens.txt").write_text(text)
    with pytest.raises(ConfigError, match=named) as refused:
        load_tokens(tmp_path / "tokens.txt")
    assert "mysecret" not in str(refused.value)
    assert HASH not in str(refused.value)


def test_a_file_that_everybody_may_write_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    with pytest.raises(ConfigError, match=r"cannot be read: No such file.*anomalabel token NAME"):
        load_tokens(file)
    file.write_text(f"ben {HASH}\n")
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_tokens(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"no UTF-8"):
        load_tokens(file)


@given(text=st.text(max_size=200))
def test_no_text_makes_an_owner_out_of_a_line_that_is_none(text: str) -> None:
    owners, problems = parse_tokens(text)
    told = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(owners) + len(problems) == len(told)
    assert owners == ()


def test_a_line_is_a_name_and_a_hash() -> None:
    assert parse_tokens(f"  Dr. A \t {HASH}  \n") == ((TokenOwner("Dr. A", HASH),), [])


def test_a_token_is_good_as_long_as_its_line_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "tokens.txt"
    first = add_token(file, "anna")
    known = TokenFile(file)
    second = add_token(file, "ben")
    assert (known.owner(first), known.owner(second)) == ("anna", "ben")
    file.write_text(file.read_text().splitlines()[1] + "\nanna lost-her-hash\n")
    with caplog.at_level(logging.INFO):
        assert (known.owner(first), known.owner(second)) == (None, "ben")
    assert any("line 2" in record.getMessage() for record in caplog.records)
    assert "lost-her-hash" not in caplog.text
    file.unlink()
    assert known.owner(second) is None
    file.write_text(f"cleo {HASH}\n")
    assert (known.owner("secret"), known.owner(second)) == ("cleo", None)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_becomes_unreadable_lets_nobody_in(
    tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "tokens.txt"
    token = add_token(file, "anna")
    known = TokenFile(file)
    file.unlink()
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    assert known.owner(token) is None
    assert "nobody is let in" in caplog.text
