// The program under test, as a process of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const perdure = join(import.meta.dirname, 'bin', 'perdure');
export const fixtures = join(import.meta.dirname, 'bin', 'conformance');

/** How long anything may take on a busy machine. */
export const patience = 60_000;

/** A folder that is gone when the test is over. */
export async function folder(t) {
  const dir = await mkdtemp(join(tmpdir(), 'perdure-e2e-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** The environment without what would change the program's configuration. */
export function cleanEnv(extra = {}) {
  const env = { PATH: process.env.PATH, HOME: process.env.HOME };
  return { ...env, ...extra };
}

/**
 * Starts a process and resolves with the first match of `pattern` in its standard output.
 * What it prints afterwards, and its standard error, is kept for `output()`.
 */
export async function start(t, command, args, pattern, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const printed = [];
  child.stderr.on('data', (data) => printed.push(data.toString()));
  const exited = once(child, 'exit');
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await exited;
  });
  const match = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${command} is not ready: ${printed.join('')}`)), patience);
    child.on('error', reject);
    child.on('exit', (code, signal) => reject(new Error(`${command} ended (${code ?? signal}): ${printed.join('')}`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      printed.push(line + '\n');
      const found = pattern.exec(line);
      if (found) {
        clearTimeout(timer);
        resolve(found);
      }
    });
  });
  return {
    match,
    output: () => printed.join(''),
    async end(signal) {
      child.kill(signal);
      const [code, by] = await exited;
      return by ?? code;
    },
  };
}

/** Runs `perdure serve` on a free port, or on the one given; `base` is its address. */
export async function serve(t, { data, env = {}, args = [], port = 0 }) {
  const process = await start(t, perdure, ['serve', '--addr', `127.0.0.1:${port}`, '--data', data, ...args], /health\s+(http:\/\/\S+)\/health/, {
    cwd: data,
    env: cleanEnv(env),
  });
  const base = process.match[1];
  return { ...process, base, port: Number(new URL(base).port) };
}
