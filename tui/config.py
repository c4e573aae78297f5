"""The config file: what a person set once, checked by name, with one clear line for every mistake.

theme = "classroom-light"
ascii = false
motion = true
pace = 0.5

[keys]
zoom = "f5"
"""

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from platformdirs import user_config_dir

APP_NAME = "commtui"


class ConfigError(ValueError):
    """The file cannot be used; the message is one line that says where and why."""


@dataclass(frozen=True, slots=True)
class Config:
    """None means: not said, use what the command line or the terminal says. `keys` maps ids of actions to keys."""

    theme: str | None = None
    ascii: bool | None = None
    motion: bool | None = None
    pace: float | None = None
    keys: Mapping[str, str] = field(default_factory=dict)


def config_path() -> Path:
    return Path(user_config_dir(APP_NAME, appauthor=False)) / "config.toml"


def load_config(path: Path, *, themes: tuple[str, ...], actions: tuple[str, ...]) -> Config:
    """The file at `path`, or an empty Config when there is none. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    return _checked(table, str(path), themes, actions)


_FIELDS = ("theme", "ascii", "motion", "pace", "keys")


def _checked(table: Mapping[str, object], path: str, themes: tuple[str, ...], actions: tuple[str, ...]) -> Config:
    config = Config()
    for name, value in table.items():
        match name, value:
            case "theme", str():
                config = replace(config, theme=_known(value, themes, "theme", path))
            case "ascii", bool():
                config = replace(config, ascii=value)
            case "motion", bool():
                config = replace(config, motion=value)
            case "pace", int() | float() if not isinstance(value, bool) and value >= 0.1:
                config = replace(config, pace=float(value))
            case "keys", dict():
                config = replace(config, keys=_keys(value, actions, path))
            case _:
                _known(name, _FIELDS, "setting", path)
                wanted = {"theme": "a theme's name", "pace": "a number of at least 0.1", "keys": "a table"}
                raise ConfigError(f"{path}: {name} must be {wanted.get(name, 'true or false')}, not {value!r}")
    return config


def _keys(table: Mapping[str, object], actions: tuple[str, ...], path: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for name, key in table.items():
        _known(name, actions, "action in [keys]", path)
        if not isinstance(key, str) or not key:
            raise ConfigError(f'{path}: the key of {name} must be a name like "f5", not {key!r}')
        keys[name] = key
    return keys


def _known(name: str, known: tuple[str, ...], kind: str, path: str) -> str:
    if name not in known:
        near = get_close_matches(name, known, 1, 0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
        raise ConfigError(f"{path}: no {kind} {name!r}; {hint}")
    return name


def complain(error: ConfigError) -> int:
    """Say what is wrong on stderr; the exit status for it."""
    print(f"commtui: {error}", file=sys.stderr)
    return 2
