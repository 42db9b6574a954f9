"""How every command behaves: options, study files, one-line errors, exit status.

A command builds its parser with `command_parser`, reads options with `parse` and runs
inside `run_command`, which turns a `UserError` into one line on stderr and exit status 2.
"""

import argparse
import difflib
import math
import os
import re
import signal
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

EXIT_PARTLY_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
EXIT_TERMINATED = 143  # 128 + SIGTERM
EXIT_OUTPUT_CLOSED = 141  # 128 + SIGPIPE
LONGEST_SHOWN = 300  # characters of a path in a line
# Tables that a study may have.
COMMANDS = ("dataset_prep", "test_models", "grad_cams", "compare_scores", "interpret", "predict", "detect_changes")


class UserError(Exception):
    """A user's mistake or a bad file: one line that names it and says what to do."""


class DiskError(UserError):
    """The disk takes no more: whatever else is to be written fails, too."""


class PartlyFailed(Exception):
    """Some of the work could not be done, the rest was: one line that says how much, after those that say why."""


class Terminated(BaseException):
    """SIGTERM: as Ctrl-C, what is being written is taken back, and what is done stays."""


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UserError(f"{message} (see {self.prog} --help)")


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and leaves the layout of the description and the examples alone."""


def command_parser(description: str, example: str) -> argparse.ArgumentParser:
    """A parser with what every command has: --study and --out, defaults and an example in --help."""
    parser = _described(description, example)
    _add_what_all_have(parser)
    return parser


def parts_parser(
    description: str, example: str, parts: Mapping[str, str]
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """A parser of a command whose first word names a part of it (`.part`), and the parsers of the parts by name.

    parts: what each does. Each has what `command_parser` gives a command.
    """
    parser = _described(description, example)
    choice = parser.add_subparsers(dest="part", required=True, metavar="PART", title="parts")
    for name, does in parts.items():
        own = choice.add_parser(
            name, help=does, description=f"{does}.", formatter_class=_HelpFormatter, allow_abbrev=False
        )
        _add_what_all_have(own)
    return parser, dict(choice.choices)


def _described(description: str, example: str) -> argparse.ArgumentParser:
    return _OneLineParser(
        description=description, epilog=f"example:\n  {example}", formatter_class=_HelpFormatter, allow_abbrev=False
    )


def _add_what_all_have(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", type=Path, metavar="FILE", help="TOML file with a table of options per command")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="everything is read and written below")


def parse(parser: argparse.ArgumentParser, command: str, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of `command`: the defaults, then its table in --study FILE, then the command line.

    The table of a command with parts may have the options of all of them; each part takes its own.
    Raises UserError for an unreadable study file, or a key there that is no option of the command.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    study_file = _study_option(argv)
    if study_file is None:
        return parser.parse_args(argv)
    parts = _parts(parser)
    own, part = (parts[argv[0]], argv[:1]) if argv[0] in parts else (parser, [])
    of_others = {key for other in parts.values() for key in _keys(other)}.difference(_keys(own))
    table = {key: value for key, value in _study_table(study_file, command).items() if key not in of_others}
    try:
        study_argv = _study_words(table, own, [*_keys(own), *sorted(of_others)])
        own.parse_known_args(study_argv)
    except UserError as error:
        raise UserError(f"{study_file}: [{command}] {error}") from error
    # Between the two an option with one value: a list would take the positional arguments that follow for its own.
    return parser.parse_args([*part, *study_argv, "--study", str(study_file), *argv[len(part) :]])


def _study_option(argv: Sequence[str]) -> Path | None:
    finder = _OneLineParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--study", type=Path)
    return finder.parse_known_args(argv)[0].study


def _study_table(study_file: Path, command: str) -> dict:
    try:
        with study_file.open("rb") as file:
            study = tomllib.load(file)
    except OSError as error:
        raise UserError(f"--study {study_file}: cannot be read ({error.strerror})") from error
    # ValueError: no UTF-8, no TOML, or a number of more digits than Python takes; RecursionError: lists in lists.
    except (ValueError, RecursionError) as error:
        raise UserError(f"--study {study_file}: is not TOML ({error})") from error
    for name in study:
        if name not in COMMANDS:
            raise UserError(f"--study {study_file}: there is no command for {_with_nearest(name, COMMANDS)}")
    table = study.get(command, {})
    if not isinstance(table, dict):
        raise UserError(f"--study {study_file}: {command} must be a table, written [{command}]")
    return table


def _parts(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    return next((each.choices for each in parser._actions if isinstance(each, argparse._SubParsersAction)), {})


def _keys(parser: argparse.ArgumentParser) -> list[str]:
    """The options that a study may have: neither --help, nor another study."""
    return [key for key in _actions(parser) if key not in ("help", "study")]


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {word[2:]: each for each in parser._actions for word in each.option_strings if word.startswith("--")}


def _with_nearest(name: str, names: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
    return f"{name!r}; the nearest is {nearest[0]!r}"


def _study_words(table: Mapping[str, object], parser: argparse.ArgumentParser, known: Sequence[str]) -> list[str]:
    """A table of a study as words of a command line. known: keys to name the nearest of, where one is no option."""
    actions, keys, words = _actions(parser), _keys(parser), []
    for key, value in table.items():
        if key not in keys:
            raise UserError(f"has no option {_with_nearest(key, known)}")
        if (actions[key].nargs == 0) != isinstance(value, bool):
            raise UserError(f"{key} {'is' if actions[key].nargs == 0 else 'is not'} a matter of true or false")
        words += _as_words(key, value)
    return words


def _as_words(key: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{key}" if value else f"--no-{key}"]
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | int | float) for each in values):
        raise UserError(f"{key}: must be text, a number, or a list of them")
    # A word that begins so would be taken for another option.
    bad = next((each for each in values if isinstance(each, str) and (each.startswith("-") or "\0" in each)), None)
    if bad is not None:
        raise UserError(f"{key}: {bad!r} can be no value")
    try:
        return [f"--{key}", *map(str, values)]
    except ValueError as error:  # a hexadecimal number of thousands of digits
        raise UserError(f"{key}: {error}") from error


def byte_count(text: str) -> int:
    """A size such as 500M, 64G or 2T (powers of 1,000) in bytes. Raises UserError if it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKMGT]?)B?", text)
    if match is None:
        raise UserError(f"{text}: is no size; write it as 500M, 64G or 2T")
    size = float(match[1]) * 1000 ** " KMGT".index(match[2].upper() or " ")
    if size == math.inf:
        raise UserError(f"{text[:20]}...: is too large a size")
    return int(size)


def run_command(main: Callable[[], None]) -> None:
    """Call `main`; exit with 2 and one line after a UserError, with 1 if a part of the work failed, with 130 after
    Ctrl-C, with 143 after SIGTERM."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        main()
        sys.stdout.flush()
    except (UserError, PartlyFailed) as error:
        line = " ".join(str(error).split())
        print(f"{_who()}: error: {line}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR if isinstance(error, UserError) else EXIT_PARTLY_FAILED)
    except BrokenPipeError:  # whoever reads the output, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_OUTPUT_CLOSED)
    except OSError as error:  # a path that cannot be, a file that vanished or may not be read
        if error.filename is None:
            raise
        name = os.fsdecode(error.filename)[:LONGEST_SHOWN]
        print(f"{_who()}: error: {name}: {error.strerror}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print(f"{_who()}: interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except Terminated:
        print(f"{_who()}: terminated", file=sys.stderr)
        sys.exit(EXIT_TERMINATED)


def _who() -> str:
    """The command, and which of those processes that torchrun started, but for the first."""
    process = int(os.environ["RANK"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0
    return f"{Path(sys.argv[0]).name} (process {process})" if process else Path(sys.argv[0]).name


def _terminate(*_) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: a second one would disturb the tidying up
    raise Terminated


def log(message: str) -> None:
    """A line of log or a warning: stderr, so that stdout holds results only."""
    log_to(message)


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


log_to: Callable[[str], None] = _to_stderr  # a process that works for another one sends them there
