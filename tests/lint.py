"""The checks of ./test lint: format, static analysis with a second compiler's warnings, and the
project's own rules about sizes and about which folder may include which."""
import json
import re

import conformance
import threats

C_FOLDERS = ("common", "policy", "master", "worker", "router", "persistd", "authd", "ctl", "bench",
             "tests")
PROCESS_FOLDERS = ("master", "worker", "router", "persistd", "authd", "ctl")
MAY_INCLUDE_POLICY = ("router", "ctl", "policy")
SECONDS = 1800  # they get what other tests leave of the processors
FILE_LINES = 900
FUNCTION_LINES = 120


def tracked(root, run, *patterns):
    code, output = run(["git", "ls-files", "-co", "--exclude-standard", "--", *patterns], SECONDS)
    if code != 0:
        raise RuntimeError(f"git ls-files failed: {output}")
    return [root / line for line in output.splitlines() if (root / line).is_file()]


def tool(run, *command):
    """A check that passes when the command's exit code is 0."""
    def check():
        code, output = run(list(command), SECONDS)
        return "" if code == 0 else f"{output}\nexit code {code}"
    return check


def compiled_sources(root):
    """What the release build compiles, each once, though it may be part of several programs."""
    database = root / "build/release/compile_commands.json"
    if not database.exists():
        return []
    files = {entry["file"] for entry in json.loads(database.read_text())}
    return sorted(file[len(f"{root}/"):] for file in files
                  if file.startswith(f"{root}/") and not file.startswith(f"{root}/build/"))


def sizes(files):
    """No file and no function too long to be read in one go."""
    def check():
        problems = []
        for path in files:
            lines = path.read_text().splitlines()
            if len(lines) > FILE_LINES:
                problems.append(f"{path}: {len(lines)} lines, more than {FILE_LINES}")
            start = 0
            for number, line in enumerate(lines, 1):
                if line == "{":
                    start = number
                elif line == "}" and start:
                    if number - start - 1 > FUNCTION_LINES:
                        problems.append(f"{path}:{start}: function of {number - start - 1} lines")
                    start = 0
        return "\n".join(problems)
    return check


def boundaries(root, files):
    """A process folder includes common/, its own files, and policy/ where the design says so."""
    def check():
        problems = []
        for path in files:
            folder = path.relative_to(root).parts[0]
            if folder not in PROCESS_FOLDERS and folder not in ("common", "policy"):
                continue
            allowed = {folder, "common"} if folder != "common" else {"common"}
            if folder in MAY_INCLUDE_POLICY:
                allowed.add("policy")
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = re.match(r'#include "([^"/]+)/', line)
                if match and match.group(1) in (*PROCESS_FOLDERS, "policy") \
                        and match.group(1) not in allowed:
                    problems.append(f"{path}:{number}: {folder}/ may not include {line[9:]}")
        return "\n".join(problems)
    return check


def first_line(path):
    try:
        with path.open() as file:
            return file.readline()
    except UnicodeDecodeError:
        return ""


def checks(root, run):
    """Every check as (name, function that returns what is wrong, or nothing)."""
    sources = [path for path in tracked(root, run, "*.c", "*.h")
               if path.relative_to(root).parts[0] in C_FOLDERS]
    scripts = [path for path in tracked(root, run, "*.sh", "run", "test", ".ci/run", "bench/*",
                                        "compose/*", "tests/*")
               if path.suffix == ".sh" or re.match(r"#!.*\b(ba)?sh\b", first_line(path))]
    python = tracked(root, run, "*.py")
    javascript = tracked(root, run, "*.js", "*.mjs")
    yield "sizes", sizes(sources)
    yield "boundaries", boundaries(root, sources)
    yield "conformance", lambda: conformance.check(root)
    yield "threats", lambda: threats.check(root)
    if sources:
        yield "clang-format", tool(run, "clang-format-14", "--dry-run", "-Werror", *sources)
    yield "shellcheck", tool(run, "shellcheck", "-x", *scripts)
    yield "pyflakes", tool(run, "/usr/bin/python3", "-m", "pyflakes", *python)
    for path in javascript:
        yield f"node --check {path.name}", tool(run, "node", "--check", path)
    compiled = compiled_sources(root)
    if not compiled:
        return
    yield "cppcheck", tool(run, "cppcheck", "--quiet", "--enable=warning,portability,performance",
                           "--inline-suppr", "--suppress=missingIncludeSystem",
                           "--suppress=normalCheckLevelMaxBranches", "--error-exitcode=1",
                           "--std=c11", f"-I{root}",
                           # Criterion's Test() is more than this parser takes.
                           *(root / source for source in compiled
                             if not source.startswith("tests/unit/")))
    # With every definition under which a source is compiled; clang's own warnings among the checks.
    for source in compiled:
        yield f"clang-tidy {source}", tool(run, "clang-tidy-14", "--quiet", "-p",
                                           root / "build/release", root / source)
