"""Calls of clients: what is tried again, and what the user reads."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

from hybridom.errors import UserError
from hybridom.retrieve import clients


class DatasetNotFound(Exception):
    pass


def http(status):
    error = OSError(f"{status} for https://user:secret@host/x?token=secret now")
    error.response = SimpleNamespace(status_code=status)
    return error


def failing(*errors):
    left = list(errors)

    def call():
        if left:
            raise left.pop(0)
        return "done"

    return call


def test_a_passing_failure_is_tried_again_after_longer_and_longer_pauses(pauses):
    errors = (ConnectionError("reset"), http(503), http(429))
    assert clients.attempt(failing(*errors), "x") == "done"
    assert pauses == list(clients.WAITS) == sorted(pauses)


def test_a_lasting_failure_is_one_line_without_secrets(pauses):
    with pytest.raises(UserError) as error:
        clients.attempt(failing(*[http(503)] * 4), "dataset x")
    message = str(error.value)
    assert "dataset x: still failing after 4 attempts" in message and "run the command" in message
    assert "secret" not in message and "\n" not in message
    assert "https://host/x" in message


@pytest.mark.parametrize("refusal", [http(401), http(403), http(404), DatasetNotFound("no")])
def test_a_refusal_is_not_tried_again(pauses, refusal):
    with pytest.raises(UserError, match=r"refused: .*; log in"):
        clients.attempt(failing(refusal), "x", "log in")
    assert pauses == []


def test_a_full_disk_and_a_wrong_call_are_not_taken_for_the_network(pauses):
    with pytest.raises(OSError, match="full"):
        clients.attempt(failing(OSError(errno.ENOSPC, "full")), "x")
    with pytest.raises(TypeError):
        clients.attempt(failing(TypeError("unexpected keyword")), "x")
    assert pauses == []


def test_a_missing_client_says_what_to_install():
    with pytest.raises(UserError, match=r"pip install 'hybridom\[download\]'"):
        clients.load("no_such_client_at_all")
    assert clients.version("no-such-client-at-all") == "unknown"
