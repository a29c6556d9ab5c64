import { bearer, type Headers } from "../client/index.js";

/** Stands for what gives a backend its users' tokens: a token endpoint, a session, a vault. */
export async function freshToken(user: string): Promise<string> {
  return `${user}-demo-token`;
}

/** What the user's runs show to the MCP server `shop`; asked anew for each. */
export function shopHeaders(user: string): () => Promise<Headers> {
  return async () => bearer("shop", await freshToken(user));
}
