package ical

import (
	"errors"
	"fmt"
)

var (
	// ErrNotCalendar is returned by [Parse] for data without a VCALENDAR.
	ErrNotCalendar = errors.New("ical: no VCALENDAR found")

	// ErrUnknownZone is returned for a TZID that names no zone that is known and
	// for which the calendar has no usable VTIMEZONE.
	ErrUnknownZone = errors.New("ical: unknown time zone")

	// ErrNoProperty is returned by the typed getters of [Component] for a property
	// that the component does not have.
	ErrNoProperty = errors.New("ical: no such property")

	// ErrNoOccurrence is returned for a recurrence id that the object's recurrence
	// set does not contain.
	ErrNoOccurrence = errors.New("ical: no such occurrence")
)

// ValueError says that a value can't be read as the type that was asked for.
type ValueError struct {
	Type  string // "date-time", "duration", "recurrence rule", ...
	Value string // as written, cut to 80 bytes
	Why   string // may be empty
}

func (e *ValueError) Error() string {
	s := fmt.Sprintf("ical: bad %s %q", e.Type, e.Value)
	if e.Why != "" {
		s += ": " + e.Why
	}
	return s
}

func badValue(typ, value, why string) error {
	if len(value) > 80 {
		value = value[:80]
	}
	return &ValueError{Type: typ, Value: value, Why: why}
}

// LimitError says that input or a computation went over a limit.
type LimitError struct {
	What  string // what was counted: "size", "line length", "depth", ...
	Limit int
	Size  int // what was found; for counts that stop at the limit, Limit + 1
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("ical: %s is %d, over the limit of %d", e.What, e.Size, e.Limit)
}
