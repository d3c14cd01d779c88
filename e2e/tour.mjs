// What an assistant does in a day, through whatever client: every tool, resource and prompt.
import assert from 'node:assert/strict';

export const tools = ['createCalendar', 'createEvent', 'deleteCalendar', 'deleteEvent', 'getEventById', 'listCalendars', 'listEvents', 'updateCalendar', 'updateEvent'];

/** A tool's answer: structured, and the same as text for those who read only that. */
export function ok(result, what) {
  assert.ok(!result.isError, `${what}: ${result.content?.[0]?.text}`);
  const text = JSON.parse(result.content[0].text);
  assert.equal(text.success, true, what);
  assert.equal(result.structuredContent.success, true, what);
  return result.structuredContent;
}

export function failed(result, pattern) {
  assert.equal(result.isError, true);
  assert.match(result.content[0].text, pattern);
}

export async function tour({ client, call }) {
  const listed = (await client.listTools()).tools;
  assert.deepEqual(listed.map((tool) => tool.name).sort(), tools);
  for (const tool of listed) {
    assert.equal(tool.inputSchema.type, 'object', tool.name);
    assert.equal(tool.outputSchema.type, 'object', tool.name);
    assert.equal(typeof tool.annotations.readOnlyHint === 'boolean' || tool.annotations.destructiveHint !== undefined, true, tool.name);
  }

  const before = ok(await call('listCalendars'), 'listCalendars').calendars;
  assert.ok(before.length >= 1);

  const { calendar } = ok(await call('createCalendar', { displayName: 'Reise „Süd“', color: '#ff8800', category: 'personal', focusPriority: 7 }), 'createCalendar');
  assert.equal(calendar.displayName, 'Reise „Süd“');
  const renamed = ok(await call('updateCalendar', { id: calendar.id, displayName: 'Reise' }), 'updateCalendar').calendar;
  assert.equal(renamed.displayName, 'Reise');
  assert.equal(renamed.focusPriority, 7);
  const counted = await call('listCalendars');
  const calendars = ok(counted, 'listCalendars').calendars;
  assert.equal(calendars.length, before.length + 1);
  assert.equal(counted._meta.calendarCount, calendars.length);
  assert.equal(counted._meta.sessionId, counted.structuredContent.sessionId);
  const calendarId = calendar.id;

  // A weekly meeting at nine in Berlin, over the change of clocks of 2026-10-25.
  const { event } = ok(await call('createEvent', {
    calendarId, title: 'Stand-up, "wöchentlich"; 1\\2', start: '2026-10-19T09:00', end: '2026-10-19T09:30', timeZone: 'Europe/Berlin',
    description: 'Zeile 1\nZeile 2', location: 'Raum 5', adhdCategory: 'focus', focusPriority: 8, energyLevel: 3, categories: ['team', 'a,b'],
    reminders: [{ type: 'notification', minutesBefore: 10 }], recurrenceRule: { frequency: 'weekly', count: 3 }, notify: false,
  }), 'createEvent');
  assert.equal(event.title, 'Stand-up, "wöchentlich"; 1\\2');
  const eventId = event.id;

  const range = { calendarId, start: '2026-10-01', end: '2026-11-30' };
  const found = ok(await call('listEvents', range), 'listEvents').events;
  assert.deepEqual(found.map((e) => e.start), ['2026-10-19T07:00:00.000Z', '2026-10-26T08:00:00.000Z', '2026-11-02T08:00:00.000Z']);
  for (const e of found) assert.equal(e.seriesId, eventId);
  assert.equal(ok(await call('listEvents', { ...range, expandRecurring: false }), 'listEvents').events.length, 1);

  for (const name of ['getEventById', 'getEvent']) {
    const got = ok(await call(name, { calendarId, eventId }), name).event;
    assert.equal(got.description, 'Zeile 1\nZeile 2');
    assert.deepEqual(got.categories, ['team', 'a,b']);
    assert.deepEqual([got.adhdCategory, got.focusPriority, got.energyLevel], ['focus', 8, 3]);
  }

  // One occurrence, then the series.
  const { recurrenceId } = found[1];
  const moved = ok(await call('updateEvent', { calendarId, eventId, recurrenceId, start: '2026-10-26T11:00', timeZone: 'Europe/Berlin' }), 'updateEvent');
  assert.equal(moved.scope, 'occurrence');
  const series = ok(await call('updateEvent', { calendarId, eventId, title: 'Stand-up', location: '' }), 'updateEvent');
  assert.equal(series.scope, 'series');
  const after = ok(await call('listEvents', range), 'listEvents').events;
  assert.deepEqual(after.map((e) => e.start), ['2026-10-19T07:00:00.000Z', '2026-10-26T10:00:00.000Z', '2026-11-02T08:00:00.000Z']);
  assert.equal(after[0].title, 'Stand-up');
  assert.equal(after[0].location ?? '', '');
  assert.equal(after[0].description, 'Zeile 1\nZeile 2');

  const allDay = ok(await call('createEvent', { calendarId, summary: 'Urlaub', start: '2026-11-09', end: '2026-11-11', isAllDay: true }), 'createEvent').event;
  assert.deepEqual([allDay.title, allDay.start, allDay.end, allDay.isAllDay], ['Urlaub', '2026-11-09', '2026-11-11', true]);

  assert.equal(ok(await call('deleteEvent', { calendarId, eventId, recurrenceId }), 'deleteEvent').scope, 'occurrence');
  assert.equal(ok(await call('listEvents', { ...range, end: '2026-11-05' }), 'listEvents').events.length, 2);
  ok(await call('deleteEvent', { calendarId, eventId }), 'deleteEvent');
  const left = ok(await call('listEvents', range), 'listEvents').events;
  assert.deepEqual(left.map((e) => e.title), ['Urlaub']);

  failed(await call('getEventById', { calendarId, eventId }), /^Failed to /);
  failed(await call('listEvents', { calendarId: 'no-such-calendar' }), /^Failed to .*The requested calendar was not found\./);
  failed(await call('createEvent', { calendarId, title: 'When?', start: 'tomorrow' }), /^Failed to .*start/s);

  const { resources } = await client.listResources();
  assert.ok(resources.length >= 1);
  for (const { uri } of resources.slice(0, 3)) {
    const { contents } = await client.readResource({ uri });
    assert.doesNotThrow(() => JSON.parse(contents[0].text), uri);
  }
  assert.ok((await client.listResourceTemplates()).resourceTemplates.length >= 1);
  const { prompts } = await client.listPrompts();
  assert.equal(prompts.length, 2);
  for (const { name } of prompts) assert.ok((await client.getPrompt({ name, arguments: {} })).messages.length >= 1, name);

  ok(await call('deleteCalendar', { id: calendarId }), 'deleteCalendar');
  assert.equal(ok(await call('listCalendars'), 'listCalendars').calendars.length, before.length);
}
