/*
Package ical reads, changes, writes and expands iCalendar (RFC 5545) without losing
anything.

# Reading and writing

[Parse] turns a file into a tree of components and properties and keeps every octet
of it: unknown properties, parameters in their order, folding, line breaks, a byte
order mark, text that is not UTF-8, lines that are nothing. [Calendar.Bytes] of an
unchanged calendar is the file.

	cal, err := ical.Parse(data, nil)
	event := cal.Components("VEVENT")[0]
	event.SetText("SUMMARY", "Lunch, then a walk")
	data = cal.Bytes() // one line differs

A change touches the lines that it names and no others. Setting what is already
there changes nothing. Changed lines are folded at 75 octets and end as the file's
lines do. Values are escaped on the way in and out; no value can break out of its
line. [Limits] bound size, line length, depth and counts.

# Values

[Time] is a DATE or DATE-TIME as it is written: a wall clock with a TZID, in UTC,
floating, or a date. [Duration] keeps nominal days apart from exact time. [Rule] is a
recurrence rule, [Period] a span. Getters return a *[ValueError] for what can't be
read; the line stays as it is.

# Time zones

[Calendar.Zone] finds what a TZID means: an IANA name, a Windows name, a name behind a
prefix, or else the calendar's own VTIMEZONE, evaluated. All become a time.Location.
The database of zones is part of the program. The other way, [NewTimezone] writes a
zone as a VTIMEZONE, and [Calendar.EnsureTimezones] adds those that a calendar lacks.

# Recurrence

[NewObject] reads a calendar for recurrence once; an [Object] then answers as often as
needed, also from several goroutines:

	o := ical.NewObject(cal, vienna)
	res := o.Expand(from, to, nil)  // the instances in a window
	extent, ok := o.Extent()        // for an index
	hit, err := o.Matches("VEVENT", from, to) // CalDAV's time-range

It knows RRULE with all its parts, RDATE, EXDATE, the old EXRULE, overrides and
RANGE=THISANDFUTURE; its doc lists what it does where the RFC leaves a choice. Rules
are evaluated on the wall clock as integers and go straight to the window that is
asked for, so that "every second since 1970" costs as little as it has to.
[ExpandOptions] bound what is left; a list cut short says so.

[Calendar.Override] and [Calendar.Exclude] are for changing and deleting one
occurrence.

# What is not done

Nothing is repaired. [Calendar.Resource] says whether a calendar is one that a CalDAV
server may store; beyond that there is no validation. RFC 7529 calendars other than GREGORIAN, vCalendar 1.0's
quoted-printable, and rules that depend on leap seconds are unknown. Changes of clocks
after 2100 are unknown where a zone comes from a VTIMEZONE.
*/
package ical
