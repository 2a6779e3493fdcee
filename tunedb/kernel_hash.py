"""What a record's kernel hash covers: the code that decides a result, and nothing else.

Of a kernel package that is its `launch` module (config, validity, signature, plan) and every module that it imports from
kernel packages, however far: device code, weight layouts, shared parts. Its `space` module (space, default, seeds, work)
decides what is tried, not what comes out, so it is not hashed. A kernel that is one module is hashed whole.
Comments, docstrings, blank lines, imports and `__all__` do not count, nor do the names and places of modules.
"""

import ast
import hashlib
import importlib.util
import io
import tokenize
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

__all__ = ["code_hash"]

OWN = "tunedb.kernels"


def code_hash(module: str) -> str:
    """Return 16 hex digits that change when the code of a kernel changes, its shared parts included.

    `module` is the kernel's full name, such as "tunedb.kernels.packed". Nothing of it is imported.
    Raises ModuleNotFoundError: where there is no such module.
    """
    start = f"{module}.launch" if _path(f"{module}.launch") else module
    found: dict[str, str] = {}
    todo = [start]
    while todo:
        name = todo.pop()
        path = _path(name)
        if path is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        found[name] = bare(source, tree)
        todo += [part for part in _parts(name, path, tree) if part not in found]
    digest = hashlib.sha256()
    # In the order of the texts: where a module lies, and what it is called, changes no result.
    for text in sorted(found.values()):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


def _path(module: str) -> Path | None:
    """Return the file of a module, found by its place in its top package: importing it might need Triton."""
    if module == OWN or module.startswith(f"{OWN}."):
        place, rest = Path(str(files(OWN))), module.split(".")[2:]
    else:
        top, *rest = module.split(".")
        spec = importlib.util.find_spec(top)
        if spec is None or spec.origin is None:
            return None
        if not rest:
            return Path(spec.origin)
        if not spec.submodule_search_locations:
            return None
        place = Path(spec.origin).parent
    inner = place.joinpath(*rest)
    for path in (inner / "__init__.py", inner.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _parts(name: str, path: Path, tree: ast.Module) -> Iterator[str]:
    """Yield the modules of kernel packages that a module imports: tunedb's shared parts and those of its own top package."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    roots = {OWN, OWN if name.startswith(f"{OWN}.") else name.partition(".")[0]}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [
                        *package.split(".")[: len(package.split(".")) - node.level + 1],
                        *([base] if base else []),
                    ]
                )
            # `from a import b` takes the module a.b where there is one, else a name of a.
            wanted = [
                f"{base}.{alias.name}" if _inside(base, roots) and _path(f"{base}.{alias.name}") else base
                for alias in node.names
            ]
        else:
            continue
        yield from (one for one in dict.fromkeys(wanted) if _inside(one, roots) and _path(one))


def _inside(module: str, roots: set[str]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)


def bare(source: str, tree: ast.Module) -> str:
    """Return a source without comments, docstrings, blank lines, imports and `__all__`: the same on every Python."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(tree):
        for part in _uncounted(node):
            for row in range(part.lineno, (part.end_lineno or part.lineno) + 1):
                lines[row - 1] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _uncounted(node: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements of a node that change no result."""
    if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
        yield node.body[0]
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        yield node
    if isinstance(node, ast.Assign) and any(
        isinstance(name, ast.Name) and name.id == "__all__" for name in node.targets
    ):
        yield node
