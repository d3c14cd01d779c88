#!/usr/bin/env python3
"""Writes objects.json: seeded random events with RDATE, EXDATE and overrides in
several zones, a window, and the instances that python3-recurring-ical-events sees
in it. Run it here; the tests read the JSON only.

Kept out: times that the clocks skip or show twice (Python reads those otherwise than
RFC 5545), two overrides for one occurrence.
"""
import datetime, json, random
import icalendar, recurring_ical_events
from zoneinfo import ZoneInfo

R = random.Random(4791)
ZONES = ["Europe/Vienna", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Auckland", "UTC"]
F = "%Y%m%dT%H%M%S"
RULES = ["FREQ=DAILY", "FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY", "FREQ=WEEKLY;BYDAY=MO,WE,FR", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU",
         "FREQ=MONTHLY", "FREQ=MONTHLY;BYDAY=-1FR", "FREQ=MONTHLY;BYDAY=2TU", "FREQ=YEARLY", "FREQ=MONTHLY;BYMONTHDAY=-1",
         "FREQ=YEARLY;BYMONTH=3,10;BYDAY=-1SU"]


def safe(wall, tz):
    """No change of clocks within a day of the time."""
    z = ZoneInfo(tz)
    return len({(wall + datetime.timedelta(hours=h)).replace(tzinfo=z).utcoffset() for h in (-30, 0, 30)}) == 1


def occurrences(text, start, n):
    from dateutil.rrule import rrulestr
    out = []
    for t in rrulestr(text, dtstart=start):
        out.append(t)
        if len(out) == n:
            break
    return out


def main():
    out = []
    while len(out) < 250:
        tz = R.choice(ZONES)
        allday = R.random() < 0.25
        start = datetime.datetime(R.randint(2018, 2027), R.randint(1, 12), R.randint(1, 28), R.randint(4, 20), R.choice([0, 15, 30]))
        rule = R.choice(RULES)
        first = occurrences(rule, start, 1)[0]
        start = first
        if allday:
            start = start.replace(hour=0, minute=0)
        if R.random() < 0.4:
            rule += ";COUNT=%d" % R.randint(2, 30)
        elif R.random() < 0.3:
            end = start + datetime.timedelta(days=R.randint(20, 700))
            rule += ";UNTIL=" + (end.strftime("%Y%m%d") if allday else end.replace(tzinfo=ZoneInfo(tz)).astimezone(datetime.timezone.utc).strftime(F + "Z"))
        rule_free = rule.split(";UNTIL")[0]
        occ = occurrences(rule_free, start, 40)
        if not all(safe(t, tz) for t in occ):
            continue

        def prop(name, t):
            if allday:
                return "%s;VALUE=DATE:%s" % (name, t.strftime("%Y%m%d"))
            if tz == "UTC":
                return "%s:%sZ" % (name, t.strftime(F))
            return "%s;TZID=%s:%s" % (name, tz, t.strftime(F))

        length = datetime.timedelta(days=R.randint(1, 3)) if allday else datetime.timedelta(minutes=R.choice([30, 60, 600]))
        head = ["BEGIN:VEVENT", "UID:%d" % len(out), "DTSTAMP:20260101T000000Z"]
        ev = head + [prop("DTSTART", start), prop("DTEND", start + length), "RRULE:" + rule]
        picked = R.sample(range(1, len(occ)), min(len(occ) - 1, 4)) if len(occ) > 1 else []
        for i in picked[:R.randint(0, 2)]:
            ev.append(prop("EXDATE", occ[i]))
        if R.random() < 0.5:
            extra = start + datetime.timedelta(days=R.randint(1, 60), hours=0 if allday else 2)
            if safe(extra, tz):
                ev.append(prop("RDATE", extra))
        ev.append("END:VEVENT")
        for i in picked[2:]:
            if "COUNT" in rule and i >= len(occ) or "UNTIL" in rule and R.random() < 0.8:
                continue
            moved = occ[i] + datetime.timedelta(days=R.randint(-3, 9), hours=0 if allday else R.randint(-3, 3))
            if not safe(moved, tz):
                continue
            ev += head + [prop("RECURRENCE-ID", occ[i]), prop("DTSTART", moved), prop("DTEND", moved + length), "SUMMARY:moved", "END:VEVENT"]
        ics = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//x//EN"] + ev + ["END:VCALENDAR", ""])
        a = start + datetime.timedelta(days=R.randint(-10, 200))
        a = a.replace(hour=0, minute=0)
        b = a + datetime.timedelta(days=R.randint(1, 120))
        utc = datetime.timezone.utc
        got = recurring_ical_events.of(icalendar.Calendar.from_ical(ics)).between(a.replace(tzinfo=utc), b.replace(tzinfo=utc))
        want = []
        for e in got:
            s, n = e["DTSTART"].dt, e["DTEND"].dt
            if allday:
                want.append("%s %s" % (s.strftime("%Y%m%d"), n.strftime("%Y%m%d")))
            else:
                s, n = s.astimezone(utc), n.astimezone(utc)
                # The library keeps instances that end where the window begins.
                if n <= a.replace(tzinfo=utc) or s >= b.replace(tzinfo=utc):
                    continue
                want.append("%s %s" % (s.strftime(F + "Z"), n.strftime(F + "Z")))
        if allday:
            want = [w for w in want if w[9:] > a.strftime("%Y%m%d") and w[:8] < b.strftime("%Y%m%d")]
        out.append({"ics": ics, "from": a.strftime(F + "Z"), "to": b.strftime(F + "Z"), "want": sorted(want)})
    with open("objects.json", "w") as w:
        w.write("[\n" + ",\n".join(json.dumps(v) for v in out) + "\n]\n")


main()
