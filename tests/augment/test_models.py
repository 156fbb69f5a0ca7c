import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from augment.models import FACE_LANDMARKER, ModelFile, cache_folder, find_model
from emoaug import EmoaugError

CONTENT = b"a small model" * 1000


class Server:
    """A real HTTP server on this machine, with a count of what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self.send_response(404 if self.path == "/missing" else 200)
                self.send_header("Content-Length", str(len(CONTENT)))
                self.end_headers()
                # "cut" sends less than it promises, as a broken connection does.
                self.wfile.write(CONTENT[:-100] if self.path == "/cut" else CONTENT)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def model(self, path: str = "/tiny.task") -> ModelFile:
        url = f"http://127.0.0.1:{self.http.server_address[1]}{path}"
        return ModelFile("tiny.task", url, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "MIT")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("EMOAUG_MODELS", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "emoaug"


def write(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_downloads_once_says_so_and_leaves_only_the_file(server, cache, capsys):
    model = server.model()
    assert find_model(model) == cache / "tiny.task"
    said = capsys.readouterr().err
    assert model.url in said
    assert str(cache / "tiny.task") in said
    assert find_model(model) == cache / "tiny.task"
    assert capsys.readouterr().err == ""
    assert server.asked == ["/tiny.task"]
    assert [path.name for path in cache.iterdir()] == ["tiny.task"]
    assert (cache / "tiny.task").read_bytes() == CONTENT


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size": 100}])
def test_a_download_with_other_content_is_refused_and_not_kept(server, cache, change):
    with pytest.raises(EmoaugError, match="Nothing was kept"):
        find_model(replace(server.model(), **change))
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("path", ["/missing", "/cut"])
def test_a_failed_download_leaves_nothing(server, cache, path):
    with pytest.raises(EmoaugError, match=r"tiny\.task"):
        find_model(server.model(path))
    assert list(cache.iterdir()) == []


def test_without_network_the_error_names_file_address_and_place(server, cache):
    model = server.model()
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(EmoaugError) as error:
        find_model(model)
    for part in (model.name, model.url, str(cache / "tiny.task"), "EMOAUG_MODELS"):
        assert part in str(error.value)


def test_a_cache_that_cannot_be_written_is_a_clear_error(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(write(tmp_path / "file")))
    with pytest.raises(EmoaugError, match="cannot download"):
        find_model(server.model())


def test_places_are_tried_in_order(server, cache, tmp_path, monkeypatch):
    cached = write(cache / "tiny.task")
    assert find_model(server.model()) == cached
    monkeypatch.setenv("EMOAUG_MODELS", str(tmp_path / "named"))
    assert find_model(server.model()) == cached
    named = write(tmp_path / "named" / "tiny.task")
    assert find_model(server.model()) == named
    explicit = write(tmp_path / "other.task")
    assert find_model(server.model(), explicit) == explicit
    assert find_model(server.model(), tmp_path / "named") == named
    assert server.asked == []


def test_an_explicit_path_that_does_not_exist_is_an_error_not_a_download(server, tmp_path):
    with pytest.raises(EmoaugError, match="no such model file"):
        find_model(server.model(), tmp_path / "absent.task")
    assert server.asked == []


def test_a_file_that_changes_after_it_was_checked_is_refused(server, tmp_path):
    path = write(tmp_path / "tiny.task")
    assert find_model(server.model(), path) == path
    write(path, CONTENT + b"!")
    with pytest.raises(EmoaugError, match="SHA-256"):
        find_model(server.model(), path)


def test_the_first_place_with_the_file_decides_even_when_it_is_wrong(server, cache, tmp_path, monkeypatch):
    write(cache / "tiny.task")
    write(tmp_path / "named" / "tiny.task", b"other")
    monkeypatch.setenv("EMOAUG_MODELS", str(tmp_path / "named"))
    with pytest.raises(EmoaugError, match="named"):
        find_model(server.model())


def test_the_cache_is_in_the_home_folder_when_xdg_says_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder() == tmp_path / ".cache" / "emoaug"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "emoaug"


def test_the_landmarker_is_pinned_to_a_version_and_a_hash():
    assert FACE_LANDMARKER.url.startswith("https://")
    assert "latest" not in FACE_LANDMARKER.url
    assert len(FACE_LANDMARKER.sha256) == 64
