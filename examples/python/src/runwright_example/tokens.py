"""Stands for what gives a backend its users' tokens: a token endpoint, a session, a vault."""

from collections.abc import Mapping

from runwright.v1.headers_pb2 import HeaderSet
from runwright_client import HeaderProvider, bearer


async def fresh_token(user: str) -> str:
    """A token of the user's that has just been made."""
    return f"{user}-demo-token"


def shop_headers(user: str) -> HeaderProvider:
    """What the user's runs show to the MCP server `shop`; asked anew for each."""

    async def headers() -> Mapping[str, HeaderSet]:
        return bearer("shop", await fresh_token(user))

    return headers
