"""How threads wait."""

import os

from supcrd import cli
from supcrd.base.threads import CHOICES, let_idle_threads_sleep


def test_the_command_line_lets_them_sleep():
    assert cli.main is not None
    assert any(name in os.environ for name in CHOICES)


def test_a_users_choice_stays():
    for name in CHOICES:
        environ = {name: "ACTIVE"}
        let_idle_threads_sleep(environ)
        assert environ == {name: "ACTIVE"}
