"""An MCP server over the Python SDK, which the tests run as `python server.py MODE`:

modern     2026-07-28, as the SDK serves it
stateless  the revisions with a handshake, without sessions
stateful   the revisions with a handshake, with sessions
guarded    2026-07-28; the SDK refuses the tokens of all but Ada
bound      as stateful; the SDK refuses the tokens of all but Ada, and a session to another token than the one that opened it

It prints `listening PORT`, and what happens to its slow tool. `POST /release` lets the slow tool end; before, all tokens that
were seen so far expire.
"""

import socket
import sys

import anyio
import uvicorn
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

MODE = sys.argv[1]


class OnlyAda(TokenVerifier):
    """Takes Ada's tokens, until they expire. Each is a client of its own."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.expired: set[str] = set()

    async def verify_token(self, token: str) -> AccessToken | None:
        self.seen.add(token)
        good = token.startswith("ada.") and token not in self.expired
        return AccessToken(token=token, client_id=token, scopes=[]) if good else None


verifier = OnlyAda()
guard = {
    "auth": AuthSettings(
        issuer_url="https://issuer.example.com",
        resource_server_url="https://mcp.example.com/mcp",
        validate_token_resource=False,
    ),
    "token_verifier": verifier,
}
server = MCPServer("e2e", log_level="WARNING", **(guard if MODE in ("guarded", "bound") else {}))
released = anyio.Event()


def say(line: str) -> None:
    print(line, flush=True)


@server.tool()
def whoami(ctx: Context) -> str:
    """Says whose Authorization header it saw."""
    # The tokens of the tests are `USER.SECRET`: the answer names the header without repeating a secret.
    scheme, _, token = (ctx.headers or {}).get("authorization", "").partition(" ")
    return token.partition(".")[0] if scheme == "Bearer" else "nobody"


@server.tool()
def fail() -> str:
    """Fails."""
    raise ToolError("out of order")


@server.tool()
async def slow() -> str:
    """Ends when it is released."""
    say("slow began")
    try:
        await released.wait()
    except anyio.get_cancelled_exc_class():
        say("slow cancelled")
        raise
    return "slow is done"


@server.custom_route("/release", methods=["POST"])
async def release(_: Request) -> Response:
    verifier.expired |= verifier.seen
    released.set()
    return Response()


class HandshakeOnly:
    """Refuses other revisions as the SDK did before it knew 2026-07-28."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        version = Request(scope).headers.get("mcp-protocol-version") if scope["type"] == "http" else None
        if version is None or version in HANDSHAKE_PROTOCOL_VERSIONS:
            await self.app(scope, receive, send)
            return
        error = {"code": -32600, "message": f"Bad Request: Unsupported protocol version: {version}"}
        refusal = JSONResponse({"jsonrpc": "2.0", "id": "server-error", "error": error}, 400)
        await refusal(scope, receive, send)


def main() -> None:
    app: ASGIApp = server.streamable_http_app(stateless_http=MODE == "stateless")
    if MODE in ("stateless", "stateful", "bound"):
        app = HandshakeOnly(app)
    listener = socket.create_server(("127.0.0.1", 0))
    say(f"listening {listener.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


main()
