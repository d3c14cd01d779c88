# Drives a CalDAV server with python3-caldav: URL, user and password are arguments.
import sys
from datetime import date, datetime, timedelta, timezone

import caldav
from caldav.lib import error

url, user, password = sys.argv[1:]
client = caldav.DAVClient(url=url, username=user, password=password)
principal = client.principal()
assert principal.calendars() == [], principal.calendars()

cal = principal.make_calendar(name="From Python", cal_id="python", supported_calendar_component_set=["VEVENT", "VTODO", "VJOURNAL"])
assert [str(c.name) for c in principal.calendars()] == ["From Python"], principal.calendars()
assert sorted(cal.get_supported_components()) == ["VEVENT", "VJOURNAL", "VTODO"]


def ics(component, uid, *lines):
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Test//EN", "BEGIN:" + component, "UID:" + uid,
                        "DTSTAMP:20260101T000000Z", *lines, "END:" + component, "END:VCALENDAR", ""])


def summaries(found):
    return sorted(str(o.vobject_instance.contents[o.vobject_instance.contents and next(
        k for k in o.vobject_instance.contents if k in ("vevent", "vtodo", "vjournal"))][0].summary.value) for o in found)


cal.save_event(ics("VEVENT", "one", "DTSTART:20260310T090000Z", "DTEND:20260310T100000Z", "SUMMARY:One"))
weekly = cal.save_event(ics("VEVENT", "weekly", "DTSTART:20260101T120000Z", "DURATION:PT1H", "RRULE:FREQ=WEEKLY", "SUMMARY:Weekly"))
cal.save_event(ics("VEVENT", "day", "DTSTART;VALUE=DATE:20260312", "SUMMARY:Day"))
todo = cal.save_todo(ics("VTODO", "todo", "SUMMARY:Todo", "DUE:20260401T000000Z"))
cal.save_journal(ics("VJOURNAL", "journal", "SUMMARY:Journal", "DTSTART;VALUE=DATE:20260301"))

assert summaries(cal.events()) == ["Day", "One", "Weekly"], summaries(cal.events())
assert summaries(cal.todos()) == ["Todo"]
assert summaries(cal.journals()) == ["Journal"]
assert summaries([cal.event_by_uid("weekly")]) == ["Weekly"]
try:
    cal.event_by_uid("nobody")
    raise AssertionError("an event that does not exist was found")
except error.NotFoundError:
    pass

utc = timezone.utc
found = cal.search(start=datetime(2026, 3, 10, tzinfo=utc), end=datetime(2026, 3, 11, tzinfo=utc), event=True, expand=False)
assert summaries(found) == ["One"], summaries(found)
found = cal.search(start=datetime(2026, 3, 9, tzinfo=utc), end=datetime(2026, 3, 23, tzinfo=utc), event=True, expand="server")
starts = sorted(str(c.decoded("DTSTART")) for o in found for c in o.icalendar_instance.subcomponents if str(c["UID"]) == "weekly")
assert starts == ["2026-03-12 12:00:00+00:00", "2026-03-19 12:00:00+00:00"], starts
assert summaries(cal.search(event=True, summary="Week")) == ["Weekly"]
assert summaries(cal.search(todo=True)) == ["Todo"]

busy = cal.freebusy_request(datetime(2026, 3, 12, tzinfo=utc), datetime(2026, 3, 13, tzinfo=utc))
assert "20260312T000000Z/20260313T000000Z" in busy.data, busy.data

synced = cal.objects(load_objects=True)
token = synced.sync_token
weekly.vobject_instance.vevent.summary.value = "Each week"
weekly.save()
todo.complete()
cal.event_by_uid("one").delete()
delta = cal.objects_by_sync_token(token, load_objects=False)
assert len(list(delta)) == 3, [o.url for o in delta]
assert cal.event_by_uid("weekly").vobject_instance.vevent.summary.value == "Each week"
assert summaries(cal.todos(include_completed=True)) == ["Todo"] and summaries(cal.todos()) == []

multi = cal.calendar_multiget([weekly.url, todo.url])
assert len(list(multi)) == 2

cal.set_properties([caldav.elements.dav.DisplayName("Renamed")])
assert cal.get_properties([caldav.elements.dav.DisplayName()])["{DAV:}displayname"] == "Renamed"
cal.delete()
assert principal.calendars() == []
print("done")
