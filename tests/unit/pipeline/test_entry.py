"""``grokscape COMMAND``: each command there is, under the name that the user typed."""

import pytest

from pipeline.__main__ import COMMANDS, main


def test_each_command_explains_itself_under_its_own_name(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: grokscape {name} ")


def test_without_a_command_it_lists_them(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    listed = capsys.readouterr().out
    assert all(f"\n  {name} " in listed for name in COMMANDS)


def test_another_command_gets_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["swep"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: COMMAND: invalid choice: 'swep'")
