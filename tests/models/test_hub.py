"""A hub that does not answer: what is cached has to do after a few seconds, and a message says how to go on."""

import socket
import time

import pytest

from supcrd.models.archs import hub


@pytest.fixture
def silent(monkeypatch):
    """A machine whose name is looked up for ever, as behind some firewalls."""
    from huggingface_hub import constants

    monkeypatch.setattr(socket, "create_connection", lambda *arguments, **options: time.sleep(60))
    monkeypatch.setattr(hub, "SECONDS", 0.2)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return constants


def test_it_is_not_waited_for_longer(silent):
    start = time.perf_counter()
    assert not hub.answers("https://example.org", 0.2)
    assert time.perf_counter() - start < 5


def test_what_is_cached_is_taken_and_the_state_put_back(silent, monkeypatch):
    monkeypatch.setattr(hub, "answers", lambda url: False)
    with hub.patient():
        assert silent.HF_HUB_OFFLINE
    assert not silent.HF_HUB_OFFLINE


def test_what_is_not_cached_is_one_line_with_the_way_out(silent, monkeypatch):
    monkeypatch.setattr(hub, "answers", lambda url: False)
    with (
        pytest.raises(ValueError, match=r"does not answer within 0.2 s.*HF_HUB_OFFLINE=1.*or give a file"),
        hub.patient(),
    ):
        raise OSError("no such thing")
    assert not silent.HF_HUB_OFFLINE


def test_a_machine_that_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert hub.answers(f"http://127.0.0.1:{server.getsockname()[1]}")
