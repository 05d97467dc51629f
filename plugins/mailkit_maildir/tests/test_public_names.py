"""The plugin imports nothing of twisted_mail_kit but its public names, as any other author's would."""

import ast
from pathlib import Path

import mailkit_maildir

PUBLIC = {"interfaces", "errors", "plugin", "stores.ledger"}


def test_the_store_imports_public_names_only():
    top = Path(mailkit_maildir.__file__).parent
    for path in [*top.glob("*.py"), *(top.parent / "twisted" / "plugins").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                if name.split(".")[0] == "twisted_mail_kit":
                    assert name.removeprefix("twisted_mail_kit.") in PUBLIC, f"{path}:{node.lineno}: {name}"
