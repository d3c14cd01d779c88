// Every client, over every transport, against our own calendar server and another one.
import { test } from 'node:test';
import { connect, kinds } from './clients.mjs';
import { folder, serve } from './program.mjs';
import { missing, radicale } from './radicale.mjs';
import { tour } from './tour.mjs';

// The stateless revision does not know HTTP+SSE: who insists on it can't use that.
const overSSE = Object.keys(kinds).filter((name) => !kinds[name].version || kinds[name].mode === 'auto');

const backends = {
  'our own calendars': { skip: false, env: async () => ({}) },
  Radicale: { skip: missing, env: radicale },
};

for (const [backend, { skip, env }] of Object.entries(backends)) {
  test(backend, { skip }, async (t) => {
    const variables = await env(t);
    const data = await folder(t);
    const server = await serve(t, { data, env: variables });
    for (const kind of Object.keys(kinds)) await t.test(`http: ${kind}`, async (t) => tour(await connect(t, kind, 'http', server)));
    for (const kind of overSSE) await t.test(`sse: ${kind}`, async (t) => tour(await connect(t, kind, 'sse', server)));
    for (const kind of Object.keys(kinds)) {
      await t.test(`stdio beside the server: ${kind}`, async (t) => tour(await connect(t, kind, 'stdio', { data, env: variables })));
    }
    const alone = await folder(t);
    for (const kind of Object.keys(kinds)) {
      await t.test(`stdio alone: ${kind}`, async (t) => tour(await connect(t, kind, 'stdio', { data: alone, env: variables })));
    }
  });
}
