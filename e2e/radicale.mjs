// Radicale, a CalDAV server that nobody here wrote, with one user.
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { folder, patience, start } from './program.mjs';

export const missing = spawnSync('radicale', ['--version']).error ? 'radicale is not installed' : false;

const user = 'ann', password = 'an-app-password';

/** Starts the server and returns the program's variables for it. */
export async function radicale(t) {
  const dir = await folder(t);
  await writeFile(join(dir, 'users'), `${user}:${password}\n`);
  const port = await freePort();
  const options = ['--server-hosts', `127.0.0.1:${port}`, '--auth-type', 'htpasswd', '--auth-htpasswd-filename', join(dir, 'users'),
    '--auth-htpasswd-encryption', 'plain', '--storage-filesystem-folder', join(dir, 'data'), '--logging-level', 'warning'];
  await start(t, 'sh', ['-c', 'echo started; exec radicale --config "" "$@"', 'radicale', ...options], /started/);
  const base = `http://127.0.0.1:${port}`;
  const auth = { Authorization: 'Basic ' + Buffer.from(`${user}:${password}`).toString('base64') };
  for (const until = Date.now() + patience; ; await pause(50)) {
    const answer = await fetch(`${base}/${user}/`, { method: 'PROPFIND', headers: { ...auth, Depth: '0' } }).catch(() => null);
    await answer?.arrayBuffer();
    if (answer) break;
    if (Date.now() > until) throw new Error('radicale does not answer');
  }
  const made = await fetch(`${base}/${user}/personal/`, {
    method: 'MKCALENDAR', headers: auth,
    body: '<C:mkcalendar xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:set><D:prop><D:displayname>Personal</D:displayname></D:prop></D:set></C:mkcalendar>',
  });
  if (made.status !== 201) throw new Error(`MKCALENDAR: ${made.status}`);
  return { NEXTCLOUD_BASE_URL: base, NEXTCLOUD_USERNAME: user, NEXTCLOUD_APP_TOKEN: password };
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
