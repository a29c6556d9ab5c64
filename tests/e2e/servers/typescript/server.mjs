// An MCP server over the TypeScript SDK, which the tests run as `node server.mjs MODE`:
//   modern     2026-07-28, as the SDK serves it
//   handshake  the revisions with a handshake, without sessions, wired by hand as the SDK's README shows
// It prints `listening PORT`, and what happens to its slow tool. `POST /release` lets the slow tool end.
import { once } from 'node:events';
import { createServer } from 'node:http';

import { NodeStreamableHTTPServerTransport, toNodeHandler } from '@modelcontextprotocol/node';
import { McpServer, createMcpHandler } from '@modelcontextprotocol/server';

const released = new AbortController();

const text = text => ({ content: [{ type: 'text', text }] });

// The tokens of the tests are `USER.SECRET`: the answer names the header without repeating a secret.
function whoami(authorization) {
    const user = /^Bearer ([^.]+)\./.exec(authorization ?? '');
    return user ? user[1] : 'nobody';
}

async function slow(cancelled) {
    console.log('slow began');
    await Promise.race([ended(released.signal), ended(cancelled)]);
    if (cancelled.aborted) console.log('slow cancelled');
    return text('slow is done');
}

async function ended(signal) {
    if (!signal.aborted) await once(signal, 'abort');
}

function build() {
    const server = new McpServer({ name: 'e2e', version: '1.0.0' });
    server.registerTool('whoami', { description: 'Says whose Authorization header it saw.' }, ctx =>
        text(whoami(ctx.http?.req?.headers.get('authorization')))
    );
    server.registerTool('fail', { description: 'Fails.' }, () => {
        throw new Error('out of order');
    });
    server.registerTool('slow', { description: 'Ends when it is released.' }, ctx => slow(ctx.mcpReq.signal));
    return server;
}

async function handshake(req, res) {
    const transport = new NodeStreamableHTTPServerTransport({ sessionIdGenerator: undefined });
    await build().connect(transport);
    await transport.handleRequest(req, res);
}

const handle = process.argv[2] === 'modern' ? toNodeHandler(createMcpHandler(build)) : handshake;

const http = createServer((req, res) => {
    if (req.url === '/release') {
        released.abort();
        res.end();
    } else {
        handle(req, res);
    }
});
http.listen(0, '127.0.0.1', () => console.log(`listening ${http.address().port}`));
