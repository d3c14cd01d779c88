package davserver

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/perdure/perdure/calendar/ical"
)

// objectLimits bound what is read of an object; its size is bounded before.
var objectLimits = &ical.Limits{Depth: 8, Properties: 50_000, Components: 5_000, Line: maxObjectBytes}

func badData(format string, args ...any) error {
	return refuse(cal("valid-calendar-data"), fmt.Sprintf(format, args...))
}

func badObject(text string) error { return refuse(cal("valid-calendar-object-resource"), text) }

// examine checks that data may be stored as a calendar object (RFC 4791, section
// 4.1) and works out what the calendar has to know of it. What is only unusual passes:
// data is never changed, so what passes comes back as it was.
func examine(data []byte, allowed []string) (putArgs, error) {
	args := putArgs{Data: data, ETag: etagOf(data)}
	if err := checkText(data); err != nil {
		return args, err
	}
	c, err := ical.Parse(data, objectLimits)
	if err != nil {
		return args, badData("This is not iCalendar: %v.", err)
	}
	if w := c.Warnings(); len(w) > 0 {
		return args, badData("This is not iCalendar: %v.", w[0])
	}
	if c.Property("METHOD") != nil {
		return args, badObject("A stored object has no METHOD.")
	}
	masters := 0
	for _, comp := range c.Components("") {
		if comp.Name() == "VTIMEZONE" {
			continue
		}
		if !slices.Contains(components, comp.Name()) {
			return args, refuse(cal("supported-calendar-component"), "A "+comp.Name()+" cannot be stored.")
		}
		uid := comp.Text("UID")
		switch {
		case uid == "":
			return args, badObject("A component has no UID.")
		case len(uid) > maxUIDBytes: // it is part of a key, and of records, which come in pages
			return args, badObject(fmt.Sprintf("The UID is longer than %d bytes.", maxUIDBytes))
		case args.UID == "":
			args.UID, args.Component = uid, comp.Name()
		case uid != args.UID || comp.Name() != args.Component:
			return args, badObject("An object has one UID and one kind of component.")
		}
		if comp.Property("RECURRENCE-ID") == nil {
			masters++
		}
		if err := checkComponent(comp); err != nil {
			return args, err
		}
	}
	switch {
	case args.Component == "":
		return args, badObject("There is nothing in it.")
	case masters > 1:
		return args, badObject("Two components have the same UID and no RECURRENCE-ID.")
	case !slices.Contains(allowed, args.Component):
		return args, refuse(cal("supported-calendar-component"), "This calendar does not take a "+args.Component+".")
	}
	args.Span = spanOf(ical.NewObject(c, nil))
	return args, nil
}

// checkText refuses what could not be put into an answer's XML.
func checkText(data []byte) error {
	if !utf8.Valid(data) {
		return badData("This is not UTF-8.")
	}
	for i, r := range string(data) {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return badData("There is a control character at byte %d.", i)
		}
	}
	return nil
}

// checkComponent refuses times and rules that nobody could read.
func checkComponent(comp *ical.Component) error {
	if comp.Name() == "VEVENT" && comp.Property("DTSTART") == nil {
		return badData("An event has no DTSTART.")
	}
	for _, name := range []string{"DTSTART", "DTEND", "DUE", "RECURRENCE-ID"} {
		if p := comp.Property(name); p != nil {
			if _, err := p.Time(); err != nil {
				return badData("%s: %v.", name, err)
			}
		}
	}
	if p := comp.Property("DURATION"); p != nil {
		if _, err := p.Duration(); err != nil {
			return badData("DURATION: %v.", err)
		}
	}
	for _, p := range comp.Properties("RRULE") {
		if _, err := p.Rule(); err != nil {
			return badData("RRULE: %v.", err)
		}
	}
	return nil
}
