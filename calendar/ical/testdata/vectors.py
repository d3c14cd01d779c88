#!/usr/bin/env python3
"""Writes vectors.json: seeded random recurrence rules with what python-dateutil
makes of them. Needs python3-dateutil. Run it here; the tests read the JSON only.

Kept out, because dateutil does other than RFC 5545 asks: a DTSTART that the rule
would not make (it is moved to the first occurrence), BYWEEKNO without BYDAY (RFC
5545 takes the day from DTSTART), BYSETPOS in weeks (it counts in the first one from
DTSTART on), and parts that the RFC forbids with a frequency.
"""
import datetime, json, random, signal
from dateutil.rrule import rrulestr

R = random.Random(5545)
DAYS = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"]
FREQS = ["YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY"]


def some(values, most):
    return sorted(R.sample(list(values), R.randint(1, most)))


def nums(values):
    return ",".join(str(v) for v in values)


def rule(freq):
    p = ["FREQ=" + freq]
    if R.random() < 0.6:
        p.append("INTERVAL=%d" % R.choice([1, 2, 3, 4, 5, 7, 10, 13, 45, 90]))
    chance = lambda x: R.random() < x
    signed = lambda n: [i for i in range(-n, n + 1) if i]
    days = False
    if chance(0.35):
        p.append("BYMONTH=" + nums(some(range(1, 13), 4)))
    if freq == "YEARLY" and chance(0.2):
        p.append("BYWEEKNO=" + nums(some(signed(53), 4)))
        p.append("BYDAY=" + ",".join(some(DAYS, 4)))
        days = True
    elif freq in ("YEARLY", "HOURLY", "MINUTELY", "SECONDLY") and chance(0.15):
        p.append("BYYEARDAY=" + nums(some(signed(366), 20)))
        days = True
    if freq != "WEEKLY" and chance(0.3):
        p.append("BYMONTHDAY=" + nums(some(signed(31), 8)))
        days = True
    if not any(x.startswith("BYDAY") for x in p) and chance(0.45):
        days = True
        d = some(DAYS, 4)
        if freq in ("YEARLY", "MONTHLY") and chance(0.5):
            month = freq == "MONTHLY" or any(x.startswith("BYMONTH=") for x in p)
            top = 5 if month else 53
            d = ["%d%s" % (R.choice(signed(top)), x) for x in d]
        p.append("BYDAY=" + ",".join(d))
    if chance(0.25):
        p.append("BYHOUR=" + nums(some(range(24), 4)))
    if chance(0.25):
        p.append("BYMINUTE=" + nums(some(range(60), 4)))
    if chance(0.2):
        p.append("BYSECOND=" + nums(some(range(60), 3)))
    if freq != "WEEKLY" and len(p) > 2 and any(x.startswith("BY") for x in p) and chance(0.25):
        p.append("BYSETPOS=" + nums(some([-4, -3, -2, -1, 1, 2, 3, 4], 3)))
    if chance(0.3):
        p.append("WKST=" + R.choice(DAYS))
    return ";".join(p)


def first(it, n, stop):
    out = []
    for t in it:
        if len(out) == n or t > stop:
            break
        out.append(t)
    return out


class Slow(Exception):
    pass


def slow(*_):
    raise Slow


def main():
    # dateutil looks for rules that never come until the year 9999.
    signal.signal(signal.SIGALRM, slow)
    out = []
    while len(out) < 600:
        freq = R.choice(FREQS)
        text = rule(freq)
        start = datetime.datetime(R.randint(1995, 2030), R.randint(1, 12), R.randint(1, 28),
                                  R.randint(0, 23), R.randint(0, 59), R.randint(0, 59))
        # Rare rules below a day make dateutil search for minutes.
        if freq in ("MINUTELY", "SECONDLY") and text.count("BY") > 1:
            continue
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        stop = start + datetime.timedelta(days=20000 if freq in ("YEARLY", "MONTHLY") else 1500)
        try:
            begin = first(rrulestr(text, dtstart=start), 1, stop)
        except (ValueError, Slow):
            continue  # ValueError: an interval that can't meet its hours
        if not begin:
            continue
        start = begin[0]
        if R.random() < 0.3:
            text += ";COUNT=%d" % R.randint(1, 25)
        elif R.random() < 0.2:
            text += ";UNTIL=" + (start + datetime.timedelta(days=R.randint(0, 900))).strftime("%Y%m%dT%H%M%S")
        try:
            got = first(rrulestr(text, dtstart=start), 40, stop)
        except (ValueError, Slow):
            continue
        signal.setitimer(signal.ITIMER_REAL, 0)
        if not got or got[0] != start:
            continue
        f = "%Y%m%dT%H%M%S"
        out.append({"start": start.strftime(f), "rule": text, "stop": stop.strftime(f),
                    "want": [t.strftime(f) for t in got]})
    with open("vectors.json", "w") as w:
        w.write("[\n" + ",\n".join(json.dumps(v) for v in out) + "\n]\n")


main()
