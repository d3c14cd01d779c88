// The clients that assistants are made with, behind one small interface:
// both generations of the TypeScript SDK, over each transport that they have.
import { Client as NewClient, SSEClientTransport as NewSSE, StreamableHTTPClientTransport as NewHTTP } from '@modelcontextprotocol/client';
import { StdioClientTransport as NewStdio } from '@modelcontextprotocol/client/stdio';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport as OldSSE } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport as OldStdio } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as OldHTTP } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { cleanEnv, patience, perdure } from './program.mjs';

const info = { name: 'perdure-e2e', version: '1.0.0' };
const stateless = '2026-07-28';

/** name → the client's generation and how it settles on a protocol. */
export const kinds = {
  'old client': { Client: OldClient, HTTP: OldHTTP, SSE: OldSSE, Stdio: OldStdio },
  'new client, auto': { Client: NewClient, HTTP: NewHTTP, SSE: NewSSE, Stdio: NewStdio, mode: 'auto', version: stateless },
  'new client, legacy': { Client: NewClient, HTTP: NewHTTP, SSE: NewSSE, Stdio: NewStdio, mode: 'legacy' },
  'new client, pinned': { Client: NewClient, HTTP: NewHTTP, SSE: NewSSE, Stdio: NewStdio, mode: { pin: stateless }, version: stateless },
};

// Until a server that was killed is back.
const reconnectionOptions = { initialReconnectionDelay: 100, maxReconnectionDelay: 1000, reconnectionDelayGrowFactor: 1.5, maxRetries: 100 };

/** Transports for a server at `base`, or started by the client itself in `data`. */
export const transports = {
  http: (kind, { base, headers }) => new kind.HTTP(new URL('/mcp', base), { requestInit: { headers }, reconnectionOptions }),
  sse: (kind, { base, headers }) => new kind.SSE(new URL('/sse', base), { requestInit: { headers } }),
  stdio: (kind, { data, env }) => new kind.Stdio({ command: perdure, args: ['stdio', '--data', data], env: cleanEnv(env), cwd: data, stderr: 'pipe' }),
};

/** Connects a client; it is closed when the test is over. */
export async function connect(t, kindName, transportName, place) {
  const kind = kinds[kindName];
  const transport = transports[transportName](kind, place);
  const client = new kind.Client(info, { capabilities: {}, ...(kind.mode && { versionNegotiation: { mode: kind.mode } }) });
  const handlers = [];
  const told = (notification) => handlers.forEach((handle) => handle(notification.params.uri));
  if (kind.mode) client.setNotificationHandler('notifications/resources/updated', told);
  else client.setNotificationHandler(ResourceUpdatedNotificationSchema, told);
  transport.stderr?.resume();
  await client.connect(transport, { timeout: patience });
  t.after(() => client.close().catch(() => {}));
  const options = { timeout: patience };
  return {
    client,
    transport,
    stateless: client.getNegotiatedProtocolVersion?.() === stateless,
    call: (name, args = {}) => (kind.mode ? client.callTool({ name, arguments: args }, options) : client.callTool({ name, arguments: args }, undefined, options)),
    /** Resolves when the server has taken the subscription; afterwards each update of `uri` is passed to `handle`. */
    async subscribe(uri, handle) {
      handlers.push((updated) => updated === uri && handle());
      if (this.stateless) await client.listen({ resourceSubscriptions: [uri] }, options);
      else await client.subscribeResource({ uri }, options);
    },
  };
}

/** A promise with a time limit that says what was waited for. */
export function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`no ${what} in ${patience} ms`)), patience); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
