// Streamable HTTP through a kill -9: a session goes on, and its notifications arrive.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, kinds, within } from './clients.mjs';
import { folder, serve } from './program.mjs';
import { missing, radicale } from './radicale.mjs';
import { ok, tour } from './tour.mjs';

const backends = { 'our own calendars': { skip: false, env: async () => ({}) }, Radicale: { skip: missing, env: radicale } };

for (const [backend, { skip, env }] of Object.entries(backends)) {
  test(backend, { skip }, async (t) => {
    const variables = await env(t);
    for (const kind of Object.keys(kinds)) {
      await t.test(kind, async (t) => {
        const data = await folder(t);
        const server = await serve(t, { data, env: variables });
        const watcher = await connect(t, kind, 'http', server);
        const { calendars } = ok(await watcher.call('listCalendars'), 'listCalendars');
        const calendarId = calendars[0].id;
        const title = `Before the crash (${kind})`;
        const { event } = ok(await watcher.call('createEvent', { calendarId, title, start: '2026-12-01T10:00Z' }), 'createEvent');
        const uri = (await watcher.client.listResources()).resources.map((r) => r.uri).find((u) => u.includes(encodeURIComponent(calendarId)) && u.includes('events'));
        assert.ok(uri, 'a resource of the events of the calendar');
        let updates = 0, arrived = () => {};
        const update = () => new Promise((resolve) => { arrived = resolve; });
        const count = () => { updates++; arrived(); };
        await watcher.subscribe(uri, count);
        const session = watcher.transport.sessionId;
        assert.equal(session === undefined, watcher.stateless);

        assert.equal(await server.end('SIGKILL'), 'SIGKILL');
        const again = await serve(t, { data, env: variables, port: server.port });

        const got = ok(await watcher.call('getEventById', { calendarId, eventId: event.id }), 'getEventById').event;
        assert.equal(got.title, title);
        assert.equal(watcher.transport.sessionId, session);
        if (watcher.stateless) await watcher.subscribe(uri, count); // streams are all that there is, and they end with the connection

        const other = await connect(t, 'old client', 'http', again);
        const told = update();
        ok(await other.call('updateEvent', { calendarId, eventId: event.id, title: 'After it' }), 'updateEvent');
        await within(told, 'notification');
        assert.ok(updates >= 1);
        ok(await other.call('deleteEvent', { calendarId, eventId: event.id }), 'deleteEvent');
        await tour(watcher);
        assert.equal(watcher.transport.sessionId, session);
        assert.equal(await again.end('SIGTERM'), 0, again.output()); // open streams do not hold it
      });
    }
  });
}
