package calmcp

import (
	"reflect"
	"slices"
	"strings"

	"github.com/perdure/perdure/calendar"
)

// listed is an event as results show it.
type listed struct {
	calendar.Event
	Shortened []string `json:"shortened,omitempty"` // names of fields that are not whole
}

// shownCalendar is a calendar as results show it.
type shownCalendar struct {
	calendar.Calendar
	Shortened []string `json:"shortened,omitempty"`
}

// showCalendar shortens what another program, or who shares it, has called a calendar.
func showCalendar(c calendar.Calendar) shownCalendar {
	s := shownCalendar{Calendar: c}
	s.Shortened = shorten(&s.Calendar, nil, calendarText, 0)
	return s
}

func showCalendars(all []calendar.Calendar) []shownCalendar {
	out := make([]shownCalendar, len(all))
	for i, c := range all {
		out[i] = showCalendar(c)
	}
	return out
}

const (
	pageBytes   = 64 << 10  // of text, an answer to listEvents
	pageRest    = 2 << 10   // of them for what is not events
	entryBytes  = 16 << 10  // of text, an event in a list
	wholeBytes  = 256 << 10 // of text, an event that was asked for by its id
	description = 1000      // bytes of a description in a list

	calendarText = 1000 // bytes of a calendar's name or category
)

// steps are how far an event is shortened until it fits: bytes of a text, entries of a list.
var steps = []struct{ text, entries int }{{4096, 100}, {500, 25}, {100, 10}}

// fit returns the first events that fit into a page, at least one.
func fit(events []calendar.Event) ([]listed, error) {
	out := make([]listed, 0, len(events))
	room := pageBytes - pageRest
	for _, e := range events {
		l := listed{Event: e}
		if short := cut(e.Description, description); short != e.Description {
			l.Description, l.Shortened = short, []string{"description"}
		}
		size, err := l.shrink(entryBytes)
		if err != nil {
			return nil, err
		}
		if room -= size; room < 0 && len(out) > 0 {
			break
		}
		out = append(out, l)
	}
	return out, nil
}

// inFull returns an event that was asked for by its id.
func inFull(e calendar.Event) (listed, error) {
	l := listed{Event: e}
	_, err := l.shrink(wholeBytes)
	return l, err
}

// shrink shortens an event until its text has at most limit bytes, and returns its size.
func (l *listed) shrink(limit int) (int, error) {
	for step := 0; ; step++ {
		size, err := l.size()
		if err != nil || size <= limit || step == len(steps) {
			return size, err
		}
		l.Shortened = shorten(&l.Event, l.Shortened, steps[step].text, steps[step].entries)
	}
}

// size is what an event takes in a list of them.
func (l *listed) size() (int, error) {
	data, err := marshal(l)
	if err != nil {
		return 0, err
	}
	text, err := indent(data)
	// Each line stands four spaces further to the right, and a comma may follow.
	return len(text) + 4*strings.Count(string(text), "\n") + 6, err
}

// names are fields that are never shortened, as callers send them back.
var names = []string{"ID", "CalendarID", "SeriesID", "RecurrenceID", "ETag", "URL", "Metadata"}

// shorten shortens the fields of what v points to, and returns the names of those that it
// changed after those that were known.
func shorten(v any, known []string, text, entries int) []string {
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		f := s.Type().Field(i)
		if slices.Contains(names, f.Name) {
			continue
		}
		if short, changed := shortened(s.Field(i), text, entries); changed {
			s.Field(i).Set(short)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !slices.Contains(known, name) {
				known = append(known, name)
			}
		}
	}
	return known
}

// shortened returns a value whose texts and lists are no longer than allowed. It shares
// nothing with v that is changed.
func shortened(v reflect.Value, text, entries int) (out reflect.Value, changed bool) {
	switch v.Kind() {
	case reflect.String:
		if short := cut(v.String(), text); len(short) < v.Len() {
			return reflect.ValueOf(short).Convert(v.Type()), true
		}
	case reflect.Slice:
		out = reflect.MakeSlice(v.Type(), min(v.Len(), entries), min(v.Len(), entries))
		changed = v.Len() > entries
		for i := range out.Len() {
			item, cut := shortened(v.Index(i), text, entries)
			out.Index(i).Set(item)
			changed = changed || cut
		}
		if changed {
			return out, true
		}
	case reflect.Pointer:
		if v.IsNil() {
			return v, false
		}
		if item, cut := shortened(v.Elem(), text, entries); cut {
			out = reflect.New(v.Type().Elem())
			out.Elem().Set(item)
			return out, true
		}
	case reflect.Struct:
		out = reflect.New(v.Type()).Elem()
		out.Set(v)
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			if item, cut := shortened(v.Field(i), text, entries); cut {
				out.Field(i).Set(item)
				changed = true
			}
		}
		return out, changed
	}
	return v, false
}
