"""The config file: every mistake gets one clear line."""

from pathlib import Path

import pytest

from tui.bindings import ACTIONS, RESERVED, bindings
from tui.config import Config, ConfigError, load_config
from tui.themes import THEME_NAMES

IDS = tuple(action.id for action in ACTIONS)


def _load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, themes=THEME_NAMES, actions=IDS)


def test_no_file_is_an_empty_config(tmp_path: Path) -> None:
    assert load_config(tmp_path / "none.toml", themes=THEME_NAMES, actions=IDS) == Config()


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    text = 'theme = "classroom-light"\nascii = true\nmotion = false\npace = 2\n[keys]\nzoom = "f5"\n'
    assert _load(tmp_path, text) == Config("classroom-light", True, False, 2.0, {"zoom": "f5"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("them = 1", "no setting 'them'; did you mean 'theme'?"),
        ('theme = "classroom-drak"', "did you mean 'classroom-dark'?"),
        ('theme = "xyz"', "there are classroom-dark, classroom-light"),
        ("theme = 3", "theme must be a theme's name, not 3"),
        ("ascii = 1", "ascii must be true or false, not 1"),
        ("pace = 0", "pace must be a number of at least 0.1, not 0"),
        ("pace = true", "pace must be a number"),
        ('[keys]\nzooom = "f5"', "no action in [keys] 'zooom'; did you mean 'zoom'?"),
        ("[keys]\nzoom = 5", "the key of zoom must be a name"),
        ("theme = ", "is not valid TOML"),
    ],
)
def test_mistakes_are_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_table_of_actions_has_no_clash() -> None:
    assert len(set(IDS)) == len(IDS)
    keys = [key for action in ACTIONS for key in action.keys.split(",")]
    assert len(set(keys)) == len(keys)
    assert len(bindings()) == len(ACTIONS)
    assert "q" in RESERVED


def test_nothing_needs_ctrl() -> None:
    for action in ACTIONS:
        assert any(not key.startswith("ctrl+") for key in action.keys.split(",")), action.id
