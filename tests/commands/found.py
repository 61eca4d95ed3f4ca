"""found -- the gcloud and kubectl commands in documents, scripts, recipes and workflows, as lists of arguments.

What a shell or Python would only know when it runs (variables, substitutions) is replaced by PLACEHOLDER, which is a name and a number.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

PROGRAMS = ("gcloud", "kubectl")
PLACEHOLDER = "1"
JSON_FLAGS = ("-p", "--patch")
OPERATORS = set("|&;()<>{}") | {"do", "then", "else", "if", "while", "until", "!", "exec", "time", "||", "&&", ";;"}
CODE_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
FENCE = re.compile(r"^( *)```[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^(?: {4,}|\t).*\n)+", re.MULTILINE)
ALIAS = re.compile(r"""^\s*(\w+)=(?:"|')?(?:\$\{KUBECTL:-)?kubectl\b""", re.MULTILINE)
VARIABLE = re.compile(r"\$(?:\{[^}]*\}|\w+|[@*#?!-])")


@dataclass(frozen=True)
class Command:
    where: str
    program: str
    args: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where}: {self.program} {shlex.join(self.args)}"


def in_file(name: str, text: str) -> list[Command]:
    if name.endswith(".md"):
        return list(in_markdown(name, text))
    if name.endswith((".yaml", ".yml")) and ".github/" in name:
        return [each for step in runs_of(yaml.safe_load(text)) for each in in_shell(name, step)]
    first = text.partition("\n")[0]
    if name.endswith(".py") or (first.startswith("#!") and "python3" in first):
        return list(in_python(name, text))
    if (first.startswith("#!") and re.search(r"[/ ](ba)?sh$", first)) or name.endswith((".just", "Justfile", ".sh")):
        return list(in_shell(name, text))
    return [each for span in CODE_SPAN.findall(uncommented(text)) for each in in_shell(name, span)]


def uncommented(text: str) -> str:
    """Comments as running text, for code spans that go over a line's end."""
    return re.sub(r"\n\s*#\s*", " ", text)


def runs_of(value: Any) -> Iterator[str]:
    """The programs of a workflow's steps."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "run" and isinstance(inner, str):
                yield inner
            else:
                yield from runs_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from runs_of(inner)


def in_markdown(name: str, text: str) -> Iterator[Command]:
    """Fenced and indented blocks, and code spans, which may go over the end of a line."""
    blocks = [match[2] for match in FENCE.finditer(text)]
    rest = FENCE.sub("\n", text)
    indented = INDENTED.findall(rest)
    aliases = aliases_in(text)
    yield from (each for block in (*blocks, *indented) for each in in_shell(name, block, aliases))
    for span in CODE_SPAN.findall(INDENTED.sub(lambda block: block[0] if "`" in block[0] else "\n", rest)):
        yield from in_shell(name, " ".join(span.split()), aliases)


def aliases_in(text: str) -> set[str]:
    return {f"${alias}" for alias in ALIAS.findall(text)}


def in_shell(name: str, text: str, aliases: set[str] | None = None) -> Iterator[Command]:
    """aliases: variables that hold kubectl, where the text does not set them."""
    aliases = aliases_in(text) | (aliases or set())
    lines = re.sub(r"\\\n", " ", text).splitlines()
    for number, line in enumerate(lines):
        if not any(word in line for word in (*PROGRAMS, *aliases)) or line.lstrip().startswith(("#", "//")):
            continue
        if ALIAS.match(line):
            continue
        words = split(lines[number : number + 6])
        yield from commands(name, words, aliases)
        for word in words:  # "$(kubectl ...)" is one word to the shell
            if "$(" in word:
                inner = re.findall(r"\$\(([^()]*)\)", word)
                yield from (each for one in inner for each in commands(name, split([one]), aliases))


def split(lines: list[str]) -> list[str]:
    """The words of the first line, with as many of the next ones as its quotation marks take."""
    for count in range(1, len(lines) + 1):
        lexer = shlex.shlex("\n".join(lines[:count]), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            return list(lexer)
        except ValueError:
            continue
    return []


def commands(name: str, words: list[str], aliases: set[str]) -> Iterator[Command]:
    before = ";"
    for index, word in enumerate(words):
        starts = before in OPERATORS or set(before) <= set("|&;()") or before.endswith("$") or "=" in before
        before = word
        program = "kubectl" if word in aliases else word
        if program not in PROGRAMS or not starts:
            continue
        args = list(arguments(words[index + 1 :]))
        if args:
            yield Command(name, program, tuple(args))


def arguments(words: list[str]) -> Iterator[str]:
    """Up to the next operator."""
    for index, word in enumerate(words):
        if set(word) <= set("|&;()<>"):
            return
        if word.isdigit() and index + 1 < len(words) and words[index + 1].startswith(">"):
            return
        if word in ("...", "$@", "$*") or ":+" in word:
            continue
        yield VARIABLE.sub(PLACEHOLDER, re.sub(r"\$\([^()]*\)", PLACEHOLDER, word))


def in_python(name: str, text: str) -> Iterator[Command]:
    """kubectl("get", ...), each.kubectl("get", ...) and run("kubectl", "get", ...)."""
    tree = ast.parse(text)
    known = sequences(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        words = [word for each in node.args for word in literals(each, known)]
        if called in PROGRAMS and node.args and isinstance(node.args[0], ast.Constant):
            yield Command(f"{name}:{node.lineno}", called, tuple(completed(words)))
        elif called == "run" and words and words[0] in PROGRAMS:
            yield Command(f"{name}:{node.lineno}", words[0], tuple(completed(words[1:])))


def sequences(tree: ast.Module) -> dict[str, list[str]]:
    """The names for lists of words in a module and its functions."""
    return {
        target.id: [literal(each) for each in node.value.elts]
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple | ast.List)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def literals(node: ast.expr, known: dict[str, list[str]]) -> list[str]:
    """One word, or those of a list that is handed on by `*`."""
    if not isinstance(node, ast.Starred):
        return [literal(node)]
    if isinstance(node.value, ast.Tuple | ast.List):
        return [literal(each) for each in node.value.elts]
    return known.get(getattr(node.value, "id", ""), [PLACEHOLDER])


def completed(words: list[str]) -> Iterator[str]:
    """A patch has to be JSON."""
    before = ""
    for word in words:
        yield (
            "{}"
            if before in JSON_FLAGS and word == PLACEHOLDER
            else word.replace(f"--patch={PLACEHOLDER}", "--patch={}")
        )
        before = word


def literal(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else PLACEHOLDER for part in node.values)
    return PLACEHOLDER
