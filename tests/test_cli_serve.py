"""`anomalabel token` and `anomalabel serve`."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest

from anomalabel import cli
from monailabel_app import server
from monailabel_app.settings import ServerSettings


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """The exit code of a call in this process."""
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setattr(sys, "argv", ["anomalabel", *(str(argument) for argument in arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_a_token_is_printed_once_and_its_hash_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    file = tmp_path / "tokens.txt"
    assert run(monkeypatch, "token", "Dr. Anna Berg", "--tokens", file) == 0
    printed = capsys.readouterr()
    token = printed.out.strip()
    assert file.read_text() == f"Dr. Anna Berg {hashlib.sha256(token.encode()).hexdigest()}\n"
    assert "shown this once" in printed.err
    assert token not in printed.err


def test_a_name_that_is_none_ends_with_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    assert run(monkeypatch, "token", "#anna", "--tokens", tmp_path / "tokens.txt") == 2
    assert capsys.readouterr().err.startswith("error: '#anna' is no reviewer's name.")
    assert not (tmp_path / "tokens.txt").exists()


def test_the_server_is_started_with_the_token_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    started: list[ServerSettings] = []
    monkeypatch.setattr(server, "serve", started.append)
    file = tmp_path / "tokens.txt"
    assert run(monkeypatch, "serve", "--studies", tmp_path, "--tokens", file) == 2
    assert "cannot be read" in capsys.readouterr().err
    run(monkeypatch, "token", "anna", "--tokens", file)
    assert run(monkeypatch, "serve", "--studies", tmp_path, "--tokens", file, "--port", 8123) == 0
    assert [(one.tokens, one.port, one.host) for one in started] == [(file, 8123, "127.0.0.1")]
    assert run(monkeypatch, "serve", "--studies", tmp_path) == 0
    assert started[1].tokens is None
