"""Pages of the documentation, and what their readers copy."""

import pathlib
import re
import shlex
import textwrap

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
# Also in lists, tabs and notes, where a block is indented.
_BLOCK = re.compile(
    r"^( *)(```+|~~~+) *([\w-]*)[^\n]*\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL
)
_SHELLS = "sh", "bash", "shell", "console"
# What begins a command where a block does not name its language.
_PROGRAMS = "keras-bandit python python3 pip make git cd curl docker torchrun"
_PROGRAMS = {*_PROGRAMS.split(), ".ci/run", ".ci/scheduled", "sudo", "apt-get"}


def blocks(page):
    """Fenced blocks of a page: `(language, text)`, "" where none is named."""
    return [
        (language, textwrap.dedent(text))
        for _, _, language, text in _BLOCK.findall(page.read_text())
    ]


def python_blocks(page):
    """Those that are Python, in order."""
    return [text for language, text in blocks(page) if language == "python"]


def _simple_commands(line):
    """A line of a shell as lists of words, without redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="<>|&;")
    lexer.whitespace_split = True
    words, found = list(lexer), [[]]
    for previous, word in zip(["", *words], words, strict=False):
        if set(word) <= set("|&;"):
            found.append([])
        elif not {previous[:1], word[:1]} & {"<", ">"}:
            found[-1].append(word)
    for command in found:
        while command and re.fullmatch(r"\$|\w+=.*", command[0]):
            del command[0]
        if command:
            # .venv/bin/python is a python.
            program = command[0].removeprefix(".venv/bin/")
            yield [program.replace("python3", "python"), *command[1:]]


def block_commands(language, text):
    """Commands of a block, as lists of words."""
    if language == "python":
        return []
    lines = text.replace("\\\n", " ").splitlines()
    found, shell = [], language in _SHELLS
    for line in lines:
        try:
            commands = list(_simple_commands(line))
        except ValueError:  # quotes of prose
            if shell:
                raise
            continue
        if shell or (commands and commands[0][0] in _PROGRAMS):
            found += commands
    return found


def commands(page):
    """Commands of all blocks of a page, in order."""
    return [
        command for block in blocks(page) for command in block_commands(*block)
    ]


if __name__ == "__main__":  # for a shell
    import sys

    for given in sys.argv[1:]:
        for command in commands(pathlib.Path(given)):
            print(shlex.join(command))
