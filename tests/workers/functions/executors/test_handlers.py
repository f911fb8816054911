"""The handler form of Open Runtimes, in both languages: what code gets, and what becomes of what it returns."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from workers.functions.executor import Failure, Outcome

pytestmark = pytest.mark.integration

Run = Callable[..., Awaitable[Outcome]]

NODE = {"runtime": "node-22"}

PYTHON_REQUEST = """
async def main(context):
    req = context.req
    return context.res.json({
        "method": req.method, "path": req.path, "query": req.query, "queryString": req.query_string,
        "scheme": req.scheme, "host": req.host, "port": req.port, "url": req.url, "text": req.body_text,
        "raw": req.bodyRaw, "binary": list(req.body_binary), "body": req.body, "header": req.headers["x-a"],
    })
"""
NODE_REQUEST = """
export default async ({ req, res }) => res.json({
  method: req.method, path: req.path, query: req.query, queryString: req.queryString,
  scheme: req.scheme, host: req.host, port: req.port, url: req.url, text: req.bodyText,
  raw: req.bodyRaw, binary: [...req.bodyBinary], body: req.body, header: req.headers['x-a'],
});
"""
LANGUAGES = [
    pytest.param(PYTHON_REQUEST, {}, id="python"),
    pytest.param(NODE_REQUEST, {"runtime": "node-22", "entrypoint": "src/main.mjs"}, id="node"),
]

PYTHON_ANSWERS = """
def main(context):
    res = context.res
    match context.req.path:
        case "/text": return res.text("grüße", 201, {"X-A": 1})
        case "/send": return res.send(b"\\x00\\xff")
        case "/json": return res.json({"ä": [1, None]})
        case "/binary": return res.binary(b"\\x00\\xff", 200, {"content-type": "image/png"})
        case "/empty": return res.empty()
        case "/redirect": return res.redirect("https://example.com/", 302)
        case "/nothing": return None
        case "/raise": raise RuntimeError("it went wrong")
        case "/strange": return {"body": object(), "status": 200, "headers": {}}
"""
NODE_ANSWERS = """
module.exports = ({ req, res }) => {
  switch (req.path) {
    case '/text': return res.text('grüße', 201, { 'X-A': 1 });
    case '/send': return res.send(Buffer.from([0, 255]));
    case '/json': return res.json({ 'ä': [1, null] });
    case '/binary': return res.binary(new Uint8Array([0, 255]), 200, { 'content-type': 'image/png' });
    case '/empty': return res.empty();
    case '/redirect': return res.redirect('https://example.com/', 302);
    case '/nothing': return;
    case '/raise': throw new Error('it went wrong');
    case '/strange': return { body: 1, status: 200, headers: {} };
  }
};
"""

PYTHON_OUTPUT = """
import os, sys
def main(context):
    context.log("one", 2, {"a": [True]}, None)
    print("printed")
    context.log("after")
    print("printed too")
    context.error("bad", {"b": 1})
    print("to stderr", file=sys.stderr)
    os.system("echo from a child")
    return context.res.empty()
"""
NODE_OUTPUT = """
module.exports = async ({ res, log, error }) => {
  log('one', 2, { a: [true] }, null);
  console.log('printed');
  log('after');
  console.log('printed too');
  error('bad', { b: 1 });
  console.error('to stderr');
  require('node:child_process').execSync('echo from a child', { stdio: 'inherit' });
  return res.empty();
};
"""

NOTE = "Native logs detected. Use context.log() or context.error() for better experience.\n"


class TestRequest:
    @pytest.mark.parametrize(("source", "said"), LANGUAGES)
    async def test_code_sees_all_of_it(self, run: Run, source: str, said: dict[str, Any]) -> None:
        outcome = await run(
            {said.get("entrypoint", "main.py"): source},
            **said,
            method="PATCH",
            path="/a/b?x=1&y=%C3%A4&z",
            headers={"x-a": "é", "content-type": "application/json", "host": "api.example.com:8080"},
            body='{"ü": "😀"}'.encode(),
        )
        assert outcome.failure is None, outcome.errors
        assert json.loads(outcome.body) == {
            "method": "PATCH",
            "path": "/a/b",
            "query": {"x": "1", "y": "ä", "z": ""},
            "queryString": "x=1&y=%C3%A4&z",
            "scheme": "http",
            "host": "api.example.com",
            "port": 8080,
            "url": "http://api.example.com:8080/a/b?x=1&y=%C3%A4&z",
            "text": '{"ü": "😀"}',
            "raw": '{"ü": "😀"}',
            "binary": list('{"ü": "😀"}'.encode()),
            "body": {"ü": "😀"},
            "header": "é",
        }

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("def main(c): return c.res.text(type(c.req.body).__name__)", {}),
            ("module.exports = (c) => c.res.text(c.req.body.constructor.name)", NODE),
        ],
    )
    async def test_body_has_the_form_of_its_type(self, run: Run, source: str, said: dict[str, Any]) -> None:
        found = []
        for kind in ("application/json", "text/html", "image/png", "application/x-www-form-urlencoded"):
            outcome = await run(source, **said, headers={"content-type": kind})
            found.append(outcome.body.decode())
        expected = ["dict", "str", "bytes", "bytes"] if not said else ["Object", "String", "Buffer", "Buffer"]
        assert found == expected


class TestResponse:
    @pytest.mark.parametrize(("source", "said"), [(PYTHON_ANSWERS, {}), (NODE_ANSWERS, NODE)])
    async def test_each_kind_is_sent(self, run: Run, source: str, said: dict[str, Any]) -> None:
        text = await run(source, **said, path="/text")
        assert (text.status, text.body.decode(), text.headers["x-a"]) == (201, "grüße", "1")
        assert text.headers["content-type"] == "text/plain; charset=utf-8"
        assert text.headers["content-length"] == "7"
        assert (await run(source, **said, path="/send")).body == b"\x00\xff"
        answer = await run(source, **said, path="/json")
        assert (answer.body.decode(), answer.headers["content-type"]) == (
            '{"ä":[1,null]}', "application/json; charset=utf-8",
        )  # fmt: skip
        binary = await run(source, **said, path="/binary")
        assert (binary.body, binary.headers["content-type"]) == (b"\x00\xff", "image/png")
        empty = await run(source, **said, path="/empty")
        assert (empty.status, empty.body) == (204, b"")
        redirect = await run(source, **said, path="/redirect")
        assert (redirect.status, redirect.headers["location"]) == (302, "https://example.com/")

    @pytest.mark.parametrize(("source", "said"), [(PYTHON_ANSWERS, {}), (NODE_ANSWERS, NODE)])
    async def test_none_is_a_failure_that_says_why(self, run: Run, source: str, said: dict[str, Any]) -> None:
        for path, text in (
            ("/nothing", "Return statement missing"),
            ("/raise", "it went wrong"),
            ("/strange", ""),
        ):
            outcome = await run(source, **said, path=path)
            assert (outcome.status, outcome.failure) == (500, Failure.CRASH)
            assert outcome.errors
            assert text in outcome.errors
        # The lines of the code itself are among them, those of the server's are not.
        raised = await run(source, **said, path="/raise")
        assert "main." in raised.errors
        assert "_runtime" not in raised.errors
        assert "node:internal" not in raised.errors


class TestOutput:
    @pytest.mark.parametrize(("source", "said"), [(PYTHON_OUTPUT, {}), (NODE_OUTPUT, NODE)])
    async def test_it_is_kept_in_order_with_a_note_about_what_was_printed(
        self, run: Run, source: str, said: dict[str, Any]
    ) -> None:
        outcome = await run(source, **said)
        nothing, yes = ("None", "true") if not said else ("null", "true")
        first = f'one 2 {{"a": [{yes}]}} {nothing}\n' if not said else f'one 2 {{"a":[{yes}]}} {nothing}\n'
        assert outcome.logs == f"{first}{NOTE}printed\nafter\nprinted too\nfrom a child\n"
        bad = 'bad {"b": 1}\n' if not said else 'bad {"b":1}\n'
        assert outcome.errors == f"{bad}{NOTE}to stderr\n"


class TestLoading:
    @pytest.mark.parametrize(
        ("sources", "said", "text"),
        [
            ({"main.py": "def main(context)"}, {}, "SyntaxError"),
            ({"main.py": "x = 1"}, {}, "no function main(context)"),
            ({"other.py": ""}, {"entrypoint": "main.py"}, "no file 'main.py'"),
            ({"other.py": ""}, {"entrypoint": "../../../main.py"}, "no file"),
            ({"main.py": "import nothing_of_this_name"}, {}, "ModuleNotFoundError"),
            ({"main.py": ""}, {"entrypoint": ""}, "no entrypoint"),
            ({"main.py": ""}, {"runtime": "cobol-85"}, "not cobol-85"),
            ({"main.js": "module.exports = ("}, NODE, "SyntaxError"),
            ({"main.js": "module.exports = 1"}, NODE, "exports no function"),
            ({"other.js": ""}, {"entrypoint": "main.js", **NODE}, "no file 'main.js'"),
            ({"main.js": "require('./nothing')"}, NODE, "Cannot find module"),
        ],
    )
    async def test_code_that_cannot_be_loaded_says_why(
        self, run: Run, sources: dict[str, str], said: dict[str, Any], text: str
    ) -> None:
        outcome = await run(sources, **{"entrypoint": next(iter(sources)), **said})
        assert (outcome.status, outcome.failure) == (500, Failure.CRASH)
        assert text in outcome.errors

    @pytest.mark.parametrize(
        ("sources", "said", "place", "text"),
        [
            ({"main.py": "import json\n\nx = = 1"}, {}, 'main.py", line 3', "SyntaxError"),
            ({"main.py": "import nothing_of_this_name"}, {}, 'main.py", line 1', "ModuleNotFoundError"),
            ({"main.py": "import a", "a.py": "\n1 / 0"}, {}, 'a.py", line 2', "ZeroDivisionError"),
            (
                {"main.py": "try:\n    import a\nexcept ImportError:\n    raise RuntimeError('b') from None"},
                {},
                'main.py", line 4',
                "RuntimeError: b",
            ),
            (
                {"main.py": "try:\n    import a_b\nexcept ImportError:\n    1 / 0"},
                {},
                "line 2",
                "another exception",
            ),
            ({"main.js": "const a = 1;\nlet b = ;"}, NODE, "main.js:2", "SyntaxError: Unexpected token ';'"),
            (
                {"main.mjs": "const a = 1;\nlet b = ;"},
                NODE,
                "main.mjs:2",
                "SyntaxError: Unexpected token ';'",
            ),
            (
                {"main.js": "const a = 1;\nlet b = ;", "package.json": '{"type": "module"}'},
                NODE,
                "main.js:2",
                "SyntaxError: Unexpected token ';'",
            ),
            (
                {
                    "main.mjs": "import './lib/near.mjs';\nexport default 1",
                    "lib/near.mjs": "\n\nlet b = ;",
                    "lib/a.mjs": "(",
                },
                NODE,
                "near.mjs:3",
                "SyntaxError: Unexpected token ';'",
            ),
            ({"main.mjs": "import { b } from './main.mjs'"}, NODE, "main.mjs:1", "SyntaxError"),
            ({"main.js": "\nrequire('./nothing')"}, NODE, "main.js:2", "Cannot find module"),
            ({"main.mjs": "import 'nothing'"}, NODE, "main.mjs", "Cannot find package 'nothing'"),
        ],
    )
    async def test_error_of_loading_tells_its_place_and_no_line_of_the_server(
        self, run: Run, sources: dict[str, str], said: dict[str, Any], place: str, text: str
    ) -> None:
        outcome = await run(sources, **{"entrypoint": next(iter(sources)), **said})
        assert outcome.failure is Failure.CRASH
        assert place in outcome.errors
        assert text in outcome.errors
        for foreign in ("importlib", "node:internal", "_runtime.", "Node.js v"):
            assert foreign not in outcome.errors

    async def test_python_finds_what_is_beside_it_in_every_way(self, run: Run) -> None:
        files = {
            "src/main.py": (
                "from .near import a\nfrom near import a as b\nfrom src.near import a as c\nimport base\n"
                "def main(context): return context.res.json([a, b, c, base.d, __name__])"
            ),
            "src/near.py": "a = 1",
            "base.py": "d = 2",
        }
        outcome = await run(files, entrypoint="src/main.py")
        assert json.loads(outcome.body) == [1, 1, 1, 2, "function.src.main"]

    @pytest.mark.parametrize(
        "sources",
        [
            {"main.mjs": "import a from './a.mjs'; export default ({ res }) => res.text(a)"},
            {"main.mjs": "import a from './a.mjs'; export const main = ({ res }) => res.text(a)"},
            {"main.js": "exports.default = ({ res }) => res.text('a')"},
            {
                "main.js": "export default async ({ res }) => res.text('a')",
                "package.json": '{"type":"module"}',
            },
        ],
    )
    async def test_node_takes_modules_of_each_kind(self, run: Run, sources: dict[str, str]) -> None:
        outcome = await run(
            {**sources, "a.mjs": "export default 'a'"}, **NODE, entrypoint=next(iter(sources))
        )
        assert outcome.body == b"a", outcome.errors
